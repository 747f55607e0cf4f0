//! A TCP proxy whose whole traffic a test can stop, swallow or cut.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What becomes of what comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// It goes on when the way is open again.
    Stalled,
    /// It is gone, and so is all that comes later on the same connection; nobody is told.
    Swallowing,
    /// Whoever comes new is turned away.
    Shut,
}

/// Forwards to one server until it is dropped.
pub(crate) struct Gate {
    pub(crate) port: u16,
    way: watch::Sender<Way>,
    target: watch::Sender<String>,
    /// How often all connections were reset.
    resets: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Gate {
    /// Forwards to `target`, such as `127.0.0.1:5432`.
    pub(crate) async fn to(target: String, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (way, resets) = (watch::Sender::new(way), watch::Sender::new(0));
        let target = watch::Sender::new(target);
        let (of_way, of_resets) = (way.subscribe(), resets.subscribe());
        let to = target.subscribe();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *of_way.borrow() == Way::Shut {
                    continue;
                }
                let target = to.borrow().clone();
                let Ok(server) = TcpStream::connect(target).await else { continue };
                drop(client.set_nodelay(true));
                drop(server.set_nodelay(true));
                let mut resets = of_resets.clone();
                resets.mark_unchanged();
                tokio::spawn(carry(client, server, of_way.clone(), resets));
            }
        });
        Self { port, way, target, resets, accepting }
    }

    pub(crate) fn becomes(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// From now on, whoever comes is led to another server.
    pub(crate) fn leads_to(&self, target: String) {
        self.target.send_replace(target);
    }

    /// Resets every connection: both ends learn of it at once.
    pub(crate) fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    way: watch::Receiver<Way>,
    mut resets: watch::Receiver<u64>,
) {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let is_reset = tokio::select! {
        () = pump(from_client, to_server, way.clone()) => false,
        () = pump(from_server, to_client, way) => false,
        _ = resets.changed() => true,
    };
    if is_reset {
        // Closed without a farewell, they are reset.
        drop(client.set_zero_linger());
        drop(server.set_zero_linger());
    }
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut way: watch::Receiver<Way>) {
    let mut piece = vec![0; 1 << 16];
    let mut is_lost = false;
    loop {
        let read = from.read(&mut piece).await;
        let goes_on = way.wait_for(|way| *way != Way::Stalled).await;
        let Ok(is_swallowing) = goes_on.map(|way| *way == Way::Swallowing) else { return };
        is_lost |= is_swallowing;
        let Ok(len @ 1..) = read else {
            // Nobody is told of an end, either.
            if is_lost {
                std::future::pending::<()>().await;
            }
            return;
        };
        if !is_lost && to.write_all(&piece[..len]).await.is_err() {
            return;
        }
    }
}
