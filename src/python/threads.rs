//! Work without the GIL, on a pool of so many threads.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Runs `f` on a pool of its own; 0 threads: as many as there are cores.
pub(super) fn on_threads<T: Send>(
    py: Python<'_>,
    threads: usize,
    f: impl FnOnce() -> T + Send,
) -> PyResult<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| PyValueError::new_err(format!("threads = {threads}: {e}")))?;
    Ok(py.detach(|| pool.install(f)))
}
