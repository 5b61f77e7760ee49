//! Waits for servers: the lake is synchronous, what speaks to a server is not.

use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};

/// Watches the sockets of all servers; work itself is done by the threads that wait.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).thread_name("aegle-lake").enable_all().build();
    runtime.expect("a thread can be started")
});

/// Waits on the calling thread, whether it belongs to a runtime or not.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let _entered = RUNTIME.enter();
    futures::executor::block_on(future)
}
