/* The tag of C++'s exceptions: what is thrown carries a pointer. */
__asm__(
    ".globl __cpp_exception\n"
    ".tagtype __cpp_exception i32\n"
    "__cpp_exception:\n");
