/* SPDX-License-Identifier: MIT
 *
 * vfork(), whose child runs on its parent's stack: no frame may be left behind, so what C would
 * write as a call of the real one is a jump. vfork_begin() is in preload/clone.c.
 */
	.text
#if defined __x86_64__
	.globl	vfork
	.type	vfork, @function
vfork:
	.cfi_startproc
#ifdef __CET__
	endbr64
#endif
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	vfork_begin
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	jmp	*%rax
	.cfi_endproc
	.size	vfork, . - vfork
#elif defined __i386__
	.globl	vfork
	.type	vfork, @function
vfork:
	subl	$12, %esp
	call	vfork_begin
	addl	$12, %esp
	jmp	*%eax
	.size	vfork, . - vfork
#elif defined __aarch64__
	.globl	vfork
	.type	vfork, %function
vfork:
	.cfi_startproc
	hint	#34 /* bti c */
	stp	x29, x30, [sp, -16]!
	bl	vfork_begin
	ldp	x29, x30, [sp], 16
	mov	x16, x0
	br	x16
	.cfi_endproc
	.size	vfork, . - vfork
#endif
	.section .note.GNU-stack, "", %progbits
