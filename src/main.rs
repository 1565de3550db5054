//! Parse, run, print, exit code. The only place that reads the wall clock and the only one that ends the process.

use std::process::ExitCode;
use std::time::Duration;

use chrono::SubsecRound;
use convlake::cli::{self, Cli, Console, Environment};
use convlake::error::{Error, Kind};
use tokio::sync::oneshot;

/// Rows come from some threads and are given back by others, in all sizes: the system's allocator keeps up to half as
/// much again for itself.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long tasks that were given up may take to clean up behind themselves.
const ENDING_MAX: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::of_process();
    let console = Console::new(cli.quiet);
    console.start_logging(cli.verbose, cli.log_format);
    #[expect(clippy::disallowed_methods, reason = "the one reading of the wall clock")]
    let now = chrono::Utc::now().trunc_subsecs(3);
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::bug("cannot start the runtime").source(e))
        .and_then(|runtime| {
            let outcome =
                runtime.block_on(async { cli::run(cli, &console, Environment::of_process(), now, stop()).await });
            // The run itself has waited for what must not be cut off. What is left may be a read that never ends.
            runtime.shutdown_timeout(ENDING_MAX);
            outcome
        });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            console.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Resolves at the first SIGINT or SIGTERM; a second one ends the process at once. Either is safe: a day is
/// published by renames, and what was not published is fetched again.
fn stop() -> impl Future<Output = Error> {
    let (first, stop) = oneshot::channel();
    tokio::spawn(async move {
        let kind = signal().await;
        let _ = first.send(Error::new(kind, "interrupted").hint("run the same command again to continue"));
        let kind = signal().await;
        std::process::exit(i32::from(kind.exit_code()));
    });
    async { stop.await.unwrap_or_else(|e| Error::bug("the signal handler died").source(e)) }
}

/// Waits for a signal that asks to stop.
async fn signal() -> Kind {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                _ = tokio::signal::ctrl_c() => Kind::Interrupted,
                _ = terminate.recv() => Kind::Terminated,
            },
            Err(_) => interrupt().await,
        }
    }
    #[cfg(not(unix))]
    interrupt().await
}

async fn interrupt() -> Kind {
    // Without a handler the signal keeps its default: it ends the process, which is safe too.
    match tokio::signal::ctrl_c().await {
        Ok(()) => Kind::Interrupted,
        Err(_) => std::future::pending().await,
    }
}
