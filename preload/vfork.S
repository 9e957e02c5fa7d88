/* SPDX-License-Identifier: MIT
 *
 * vfork(), which returns twice on one stack: first in the child, that runs on it, then in the parent.
 * Where to is kept by vfork_begin(), since the child writes over the place from which C would take
 * it; vfork_end() is told each time what the real one has returned. Both are in preload/clone.c.
 */
	.text
#if defined __x86_64__
	.globl	vfork
	.hidden	vfork_begin, vfork_end
	.type	vfork, @function
vfork:
	.cfi_startproc
#ifdef __CET__
	endbr64
#endif
	movq	(%rsp), %rdi
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	vfork_begin
	addq	$16, %rsp
	.cfi_adjust_cfa_offset -16
	call	*%rax
	pushq	%rax
	subq	$8, %rsp
	movl	%eax, %edi
	call	vfork_end
	movq	%rax, %rdx
	addq	$8, %rsp
	popq	%rax
	jmp	*%rdx
	.cfi_endproc
	.size	vfork, . - vfork
#elif defined __i386__
	.globl	vfork
	.hidden	vfork_begin, vfork_end
	.type	vfork, @function
vfork:
	movl	(%esp), %eax
	subl	$8, %esp
	pushl	%eax
	call	vfork_begin
	addl	$16, %esp
	call	*%eax
	subl	$8, %esp
	pushl	%eax
	pushl	%eax
	call	vfork_end
	movl	%eax, %edx
	addl	$4, %esp
	popl	%eax
	addl	$8, %esp
	jmp	*%edx
	.size	vfork, . - vfork
#elif defined __aarch64__
	.globl	vfork
	.hidden	vfork_begin, vfork_end
	.type	vfork, %function
vfork:
	hint	#34 /* bti c */
	mov	x0, x30
	stp	x29, x30, [sp, -16]!
	bl	vfork_begin
	ldp	x29, x30, [sp], 16
	blr	x0
	sub	sp, sp, 16
	str	x0, [sp]
	bl	vfork_end
	mov	x30, x0
	ldr	x0, [sp]
	add	sp, sp, 16
	ret
	.size	vfork, . - vfork
#endif
	.section .note.GNU-stack, "", %progbits
