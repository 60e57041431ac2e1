//! Makes the allocator return freed memory to the system at once.
//!
//! mimalloc returns memory a second after it was freed, but only when its thread allocates again: a
//! server that is idle after a load keeps it. This can only be changed through an environment variable
//! or a C function. This crate calls the function, so that `unsafe` stays forbidden everywhere else.

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_option_t};

/// `mi_option_purge_delay` of mimalloc.h, which the bindings do not name: milliseconds between freeing
/// and returning memory.
const PURGE_DELAY: mi_option_t = 15;

/// Makes mimalloc return freed memory to the system at once. Call it at the start of `main`, in a program
/// whose global allocator is mimalloc.
pub fn return_freed_memory_at_once() {
    // SAFETY: the function takes two numbers by value, and writes one word of mimalloc's own options.
    unsafe { mi_option_set(PURGE_DELAY, 0) }
}

/// The current delay in milliseconds.
pub fn delay_ms() -> c_long {
    // SAFETY: the function takes a number by value, and reads one word of mimalloc's own options.
    unsafe { mi_option_get(PURGE_DELAY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_sets_the_delay() {
        // The defaults of mimalloc 2 and 3; no other option has these values.
        assert!(matches!(delay_ms(), 10 | 1_000));
        return_freed_memory_at_once();
        assert_eq!(delay_ms(), 0);
    }
}
