/* SPDX-License-Identifier: MIT
 *
 * syscall(): libc's own is a jump away, with each argument where the program put it. C would do for
 * none of that: it may write to the places of arguments on the stack, which here can be a variable
 * that another thread is changing, and a child that runs on its parent's stack returns from here too.
 *
 * The numbers are SYS_seccomp, SYS_prctl, SYS_clone, SYS_vfork and SYS_clone3, by which a filter is
 * installed or a child made: syscall_look() in preload/seccomp.c has a look.
 */
#include <sys/syscall.h>

	.text
#if defined __x86_64__ && !defined __ILP32__
	.globl	syscall
	.type	syscall, @function
	.hidden	real_found, syscall_look, gate_make
syscall:
	.cfi_startproc
#ifdef __CET__
	endbr64
#endif
	cmpq	$SYS_seccomp, %rdi
	je	.Llook
	cmpq	$SYS_prctl, %rdi
	je	.Llook
	cmpq	$SYS_clone, %rdi
	je	.Llook
	cmpq	$SYS_vfork, %rdi
	je	.Llook
#ifdef SYS_clone3
	cmpq	$SYS_clone3, %rdi
	je	.Llook
#endif
	movq	real_found(%rip), %rax
	testq	%rax, %rax
	je	.Learly
	jmp	*(%rax)		/* its first member is syscall */
.Llook:
	jmp	syscall_look	/* these have no seventh argument */
	/* An allocator may call this while ld.so allocates, and must not be led back there by dlsym(3). */
.Learly:
	pushq	8(%rsp)
	.cfi_adjust_cfa_offset 8
	call	gate_make
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size	syscall, . - syscall
#elif defined __i386__
	.globl	syscall
	.type	syscall, @function
	.hidden	syscall_next, syscall_look
syscall:
	movl	4(%esp), %eax
	cmpl	$SYS_seccomp, %eax
	je	.Llook
	cmpl	$SYS_prctl, %eax
	je	.Llook
	cmpl	$SYS_clone, %eax
	je	.Llook
	cmpl	$SYS_vfork, %eax
	je	.Llook
#ifdef SYS_clone3
	cmpl	$SYS_clone3, %eax
	je	.Llook
#endif
	subl	$12, %esp
	call	syscall_next
	addl	$12, %esp
	jmp	*%eax
.Llook:
	subl	$4, %esp
	pushl	28(%esp)
	pushl	28(%esp)
	pushl	28(%esp)
	pushl	28(%esp)
	pushl	28(%esp)
	pushl	28(%esp)
	call	syscall_look
	addl	$28, %esp
	ret
	.size	syscall, . - syscall
#endif
	.section .note.GNU-stack, "", %progbits
