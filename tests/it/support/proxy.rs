//! A TCP proxy that loses what passes through it, at a message that a test chooses.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What becomes of one message from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It does not reach the server, and both connections are cut.
    Before,
    /// It does, and both connections are cut when the server answers.
    After,
    /// It stays where it is, and nobody learns of it.
    Stalled,
}

/// Forwards to one server until it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    /// Of the messages to come, the one that is lost, and how.
    next: Option<(Which, Loss)>,
    lost: Option<Vec<u8>>,
    /// Which messages are lost as well from then on.
    then: Option<&'static [u8]>,
    /// Which messages are lost before they reach the server, each with its connection.
    down: Option<&'static [u8]>,
}

enum Which {
    After(usize),
    With(&'static [u8]),
}

impl Proxy {
    /// Forwards to `target`, such as `127.0.0.1:5432`.
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let accepting = tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let Ok(server) = TcpStream::connect(&target).await else { continue };
                    drop(client.set_nodelay(true));
                    drop(server.set_nodelay(true));
                    tokio::spawn(carry(client, server, Arc::clone(&state)));
                }
            }
        });
        Self { port, state, accepting }
    }

    /// Loses the message after the next `number` ones.
    pub(crate) fn lose(&self, number: usize, how: Loss) {
        let next = Some((Which::After(number), how));
        *self.state.plan.lock().unwrap() = Plan { next, ..Plan::default() };
    }

    /// Loses the next message with these words.
    pub(crate) fn lose_with(&self, words: &'static [u8], how: Loss) {
        let next = Some((Which::With(words), how));
        *self.state.plan.lock().unwrap() = Plan { next, ..Plan::default() };
    }

    /// The same, and from that message on every one with `then` is lost before the server has it, until
    /// all is [well](Self::is_well) again: with no words, every message.
    pub(crate) fn lose_from(&self, words: &'static [u8], how: Loss, then: &'static [u8]) {
        let (next, then) = (Some((Which::With(words), how)), Some(then));
        *self.state.plan.lock().unwrap() = Plan { next, then, ..Plan::default() };
    }

    /// Nothing is lost any more.
    pub(crate) fn is_well(&self) {
        let mut plan = self.state.plan.lock().unwrap();
        (plan.next, plan.then, plan.down) = (None, None, None);
    }

    /// The message that was lost, if it came to that.
    pub(crate) fn lost(&self) -> Option<Vec<u8>> {
        self.state.plan.lock().unwrap().lost.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn fate_of(&self, message: &[u8]) -> Option<Loss> {
        let has =
            |words: &[u8]| words.is_empty() || message.windows(words.len()).any(|at| at == words);
        let mut plan = self.plan.lock().unwrap();
        if plan.down.is_some_and(has) {
            return Some(Loss::Before);
        }
        let (which, how) = plan.next.as_mut()?;
        let how = *how;
        match which {
            Which::After(left) if *left > 0 => {
                *left -= 1;
                return None;
            }
            Which::With(words) if !has(words) => return None,
            Which::After(_) | Which::With(_) => {}
        }
        (plan.next, plan.lost, plan.down) = (None, Some(message.to_owned()), plan.then);
        Some(how)
    }
}

/// A client that waits for each answer sends each of its messages as one piece.
async fn carry(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_cut_at_answer = AtomicBool::new(false);
    let up = async {
        let mut piece = vec![0; 1 << 16];
        while let Ok(len @ 1..) = from_client.read(&mut piece).await {
            match state.fate_of(&piece[..len]) {
                None => {}
                Some(Loss::Before) => return,
                // SeqCst: cold, and seen before the answer to what is forwarded below.
                Some(Loss::After) => is_cut_at_answer.store(true, Ordering::SeqCst),
                Some(Loss::Stalled) => std::future::pending().await,
            }
            if to_server.write_all(&piece[..len]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut piece = vec![0; 1 << 16];
        while let Ok(len @ 1..) = from_server.read(&mut piece).await {
            let is_cut = is_cut_at_answer.load(Ordering::SeqCst);
            if is_cut || to_client.write_all(&piece[..len]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
