/* SPDX-License-Identifier: MIT
 *
 * long gate_raw(long number, long a, long b, long c, long d, long e, long f): the system call itself.
 * libc's syscall(3) would be the program's own function of that name, and a filter can look at the
 * address that a call comes from: gate_after_call is what it is told (seccomp(2),
 * seccomp_data.instruction_pointer). Returns what the kernel does: a negative errno for failure.
 */
	.text
#if defined __x86_64__ && !defined __ILP32__
	.globl	gate_raw, gate_after_call
	.hidden	gate_raw, gate_after_call
	.type	gate_raw, @function
gate_raw:
	.cfi_startproc
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
gate_after_call:
	ret
	.cfi_endproc
	.size	gate_raw, . - gate_raw
#elif defined __i386__
	.globl	gate_raw, gate_after_call
	.hidden	gate_raw, gate_after_call
	.type	gate_raw, @function
gate_raw:
	pushl	%ebp
	pushl	%edi
	pushl	%esi
	pushl	%ebx
	movl	20(%esp), %eax
	movl	24(%esp), %ebx
	movl	28(%esp), %ecx
	movl	32(%esp), %edx
	movl	36(%esp), %esi
	movl	40(%esp), %edi
	movl	44(%esp), %ebp
	int	$0x80
gate_after_call:
	popl	%ebx
	popl	%esi
	popl	%edi
	popl	%ebp
	ret
	.size	gate_raw, . - gate_raw
#elif defined __aarch64__
	.globl	gate_raw, gate_after_call
	.hidden	gate_raw, gate_after_call
	.type	gate_raw, %function
gate_raw:
	.cfi_startproc
	mov	x8, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	mov	x3, x4
	mov	x4, x5
	mov	x5, x6
	svc	0
gate_after_call:
	ret
	.cfi_endproc
	.size	gate_raw, . - gate_raw
#endif
	.section	.note.GNU-stack, "", %progbits
