//! The thread that listens, with its own runtime.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::sync::oneshot;

use super::exchange;
use super::state::Shared;

const BACKLOG: u32 = 1024;

/// A running server. Dropping it closes all its connections.
pub(super) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(socket: TcpSocket, shared: Arc<Shared>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (report, started) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("fake-aws".to_owned())
            .spawn(move || run(socket, &shared, stopped, &report))?;
        let server = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        match started.recv() {
            Ok(Ok(())) => Ok(server),
            Ok(Err(error)) => Err(error),
            Err(mpsc::RecvError) => Err(io::Error::other("the endpoint's thread ended")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            // A rule may own the last handle, and a thread cannot wait for itself.
            && thread.thread().id() != thread::current().id()
        {
            // The runtime catches panics in a connection's task, from a rule for example.
            let _ = thread.join();
        }
    }
}

/// A socket bound to `addr` even if other sockets that do not listen are bound to it.
///
/// Not on Windows, where several sockets could then listen on one port. Windows also does not need
/// this to reuse a recently used port.
pub(super) fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn run(
    socket: TcpSocket,
    shared: &Arc<Shared>,
    stopped: oneshot::Receiver<()>,
    report: &mpsc::Sender<io::Result<()>>,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(report.send(Err(error))),
    };
    runtime.block_on(async {
        let listener = match socket.listen(BACKLOG) {
            Ok(listener) => listener,
            Err(error) => return drop(report.send(Err(error))),
        };
        drop(report.send(Ok(())));
        tokio::select! {
            _ = stopped => {}
            () = accept(&listener, shared) => {}
        }
    });
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Usually out of file descriptors; some may be free a moment later.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        // A response is one write, so there is nothing to coalesce.
        let _ = stream.set_nodelay(true);
        shared.update(|state| state.connections += 1);
        tokio::spawn(exchange::serve(stream, Arc::clone(shared)));
    }
}
