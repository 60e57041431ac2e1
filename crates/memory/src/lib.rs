//! Returns freed memory to the system.
//!
//! glibc keeps the memory that a program frees: after a load of many small allocations, the process
//! holds nearly all of it until the next load. [`start`] runs a thread that asks glibc to return it
//! (`malloc_trim`) when the process has much more than it once had and is not busy.
//!
//! With other C libraries, and on other systems, [`start`] does nothing.

mod policy;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc;

/// Starts the thread. It runs until the process ends.
///
/// # Errors
/// If the system gives no thread.
pub fn start() -> std::io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    std::thread::Builder::new().name("memory".to_owned()).spawn(glibc::run)?;
    Ok(())
}
