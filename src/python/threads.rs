//! Work on a pool of so many threads.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Runs `f` on a pool of its own; 0 threads: as many as there are cores.
pub(super) fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> PyResult<T> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| PyValueError::new_err(format!("threads = {threads}: {e}")))?;
    Ok(pool.install(f))
}
