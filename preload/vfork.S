/* SPDX-License-Identifier: MIT
 *
 * vfork(), which returns twice on one stack: first in the child, that runs on it, then in the parent.
 * Where to is kept by vfork_begin(), since the child writes over the place from which C would take
 * it; vfork_end() is told each time what the real one has returned. The number of the call is in a
 * register that functions preserve: each process has its own. Both functions are in
 * preload/clone.c.
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
	movq	%rbx, %rsi
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	vfork_begin
	addq	$16, %rsp
	.cfi_adjust_cfa_offset -16
	movq	%rdx, %rbx
	call	*%rax
	pushq	%rax
	subq	$8, %rsp
	movl	%eax, %edi
	movq	%rbx, %rsi
	call	vfork_end
	movq	%rdx, %rbx
	movq	%rax, %rcx
	addq	$8, %rsp
	popq	%rax
	jmp	*%rcx
	.cfi_endproc
	.size	vfork, . - vfork
#elif defined __i386__
	.globl	vfork
	.hidden	vfork_begin, vfork_end
	.type	vfork, @function
vfork:
	movl	(%esp), %eax
	subl	$4, %esp
	pushl	%ebx
	pushl	%eax
	call	vfork_begin
	addl	$16, %esp
	movl	%edx, %ebx
	call	*%eax
	subl	$4, %esp
	pushl	%eax
	pushl	%ebx
	pushl	%eax
	call	vfork_end
	movl	%edx, %ebx
	movl	%eax, %ecx
	addl	$8, %esp
	popl	%eax
	addl	$4, %esp
	jmp	*%ecx
	.size	vfork, . - vfork
#elif defined __aarch64__
	.globl	vfork
	.hidden	vfork_begin, vfork_end
	.type	vfork, %function
vfork:
	hint	#34 /* bti c */
	mov	x0, x30
	mov	x1, x19
	stp	x29, x30, [sp, -16]!
	bl	vfork_begin
	ldp	x29, x30, [sp], 16
	mov	x19, x1
	blr	x0
	sub	sp, sp, 16
	str	x0, [sp]
	mov	x1, x19
	bl	vfork_end
	mov	x30, x0
	mov	x19, x1
	ldr	x0, [sp]
	add	sp, sp, 16
	ret
	.size	vfork, . - vfork
#endif
	.section .note.GNU-stack, "", %progbits
