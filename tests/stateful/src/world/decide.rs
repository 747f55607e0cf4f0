//! Asking the authenticators, and judging what they say.

use std::{
    pin::{Pin, pin},
    sync::atomic::Ordering,
    task::Poll,
};

use tower_token_auth::{AuthenticatedKey, Authenticator, Rejection, RejectionKind, TokenDigest};

use super::World;
use crate::{
    backend::Backend,
    model::{
        Complaint,
        history::{Known, Verdict},
        rows::{bits_of, number_of},
    },
    step::Process,
    watched::Look,
};

/// How many reads of one process are held at once.
const HELD: usize = 2;
/// How many requests wait for one of them.
const WAITING: usize = 4;

type Asked = Pin<Box<dyn Future<Output = Result<AuthenticatedKey, Rejection>> + Send>>;

/// A request whose read is held.
pub(super) struct Request {
    by: Process,
    digest: TokenDigest,
    asked: Asked,
    /// What was believed when it began. It may go by that, and by all that was true since.
    known: Vec<Option<Known>>,
    /// Its place among the changes when it began, and the time when its read did.
    began: Look,
}

impl<B: Backend> World<B> {
    /// Looks at every token through both authenticators.
    pub(super) async fn look(&mut self) -> Result<(), Complaint> {
        for on in [Process::One, Process::Two] {
            for token in 0..self.tokens.len() {
                self.look_at(on, token).await?;
            }
        }
        Ok(())
    }

    async fn look_at(&mut self, on: Process, token: usize) -> Result<(), Complaint> {
        let digest = self.tokens[token].digest;
        let (reach, at) = (self.reach(on), self.common.last());
        let allowed = self.model.verdicts(on, &digest, reach, at);
        let mut asked = self.ask(on, token, false);
        let Some(decision) = self.drive(asked.as_mut()).await else {
            // It has joined a read that is held.
            return self.wait(on, token, asked, at);
        };
        let is_busy = decision.is_err() && !reach.may_fail;
        self.judge(on, &digest, "", decision, &allowed)?;
        if is_busy {
            // It may have woken up whoever settles what is suspect.
            self.rest().await;
        } else {
            self.rest_of_reads().await;
        }
        self.heed_all()
    }

    pub(super) async fn authoritative(&mut self, on: Process, token: u8) -> Result<(), Complaint> {
        let token = self.token(token);
        let digest = self.tokens[token].digest;
        let (reach, at) = (self.reach(on), self.common.last());
        let allowed = self.model.authoritative(on, &digest, reach, at);
        let decision = self.drive(self.ask(on, token, true).as_mut()).await;
        let decision = decision.ok_or("an authoritative read joins no other")?;
        self.judge(on, &digest, "authoritatively ", decision, &allowed)
    }

    pub(super) async fn recheck(&mut self, on: Process, token: u8) -> Result<(), Complaint> {
        let digest = self.tokens[self.token(token)].digest;
        let Some(key) = self.admitted.get(&(on as usize, digest)).cloned() else { return Ok(()) };
        let (reach, at) = (self.reach(on), self.common.last());
        let mut allowed = self.model.verdicts(on, &digest, reach, at);
        for verdict in &mut allowed {
            if matches!(verdict, Verdict::Admitted(known) if known.id != key.id()) {
                *verdict = Verdict::Unknown;
            }
        }
        let auth = self.auths[on as usize].clone();
        let asked = pin!(async move { auth.recheck(&key).await });
        match self.drive(asked).await {
            Some(decision) => self.judge(on, &digest, "again ", decision, &allowed),
            None => Ok(()),
        }
    }

    /// Asks, and gives up at once.
    pub(super) async fn abandon(&mut self, on: Process, token: u8) {
        let token = self.token(token);
        let at = self.common.last();
        self.model.beliefs(on, &self.tokens[token].digest, false, at, &[]);
        let mut asked = self.ask(on, token, false);
        std::future::poll_fn(|cx| {
            let _ = asked.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }

    pub(super) async fn junk(&mut self, on: Process, number: u8) -> Result<(), Complaint> {
        let may_fail = self.reach(on).may_fail;
        let (auth, text) = (self.auths[on as usize].clone(), format!("junk-{number}"));
        let asked = pin!(async move { auth.authenticate(&text).await });
        match self.drive(asked).await.map(|decision| verdict(&decision)) {
            Some(Verdict::Unknown) => Ok(()),
            Some(Verdict::Busy) if may_fail => Ok(()),
            other => Err(format!("{on:?} says of junk: {other:?}")),
        }
    }

    /// Asks, and holds the read that this begins, if it begins one: the request's own, or one in
    /// the background.
    pub(super) async fn hold(
        &mut self,
        on: Process,
        token: u8,
        authoritative: bool,
    ) -> Result<(), Complaint> {
        let own = std::sync::Arc::clone(&self.stores[on as usize].own);
        if own.held().len() >= HELD {
            return Ok(());
        }
        let token = self.token(token);
        let digest = self.tokens[token].digest;
        let (reach, at) = (self.reach(on), self.common.last());
        let allowed = if authoritative {
            self.model.authoritative(on, &digest, reach, at)
        } else {
            self.model.verdicts(on, &digest, reach, at)
        };
        own.hold_next.store(true, Ordering::SeqCst);
        let mut asked = self.ask(on, token, authoritative);
        let decision = self.drive(asked.as_mut()).await;
        self.rest().await;
        own.hold_next.store(false, Ordering::SeqCst);
        match decision {
            Some(decision) => self.judge(on, &digest, "", decision, &allowed),
            None => self.wait(on, token, asked, at),
        }
    }

    /// Keeps a request that waits for a read that is held; but not too many for one read.
    fn wait(&mut self, on: Process, token: usize, asked: Asked, at: u64) -> Result<(), Complaint> {
        let digest = self.tokens[token].digest;
        let held = self.stores[on as usize].own.held();
        let looks = held.into_iter().filter(|(other, _)| *other == digest).map(|(_, look)| look);
        let looks: Vec<Look> = looks.collect();
        let Some(first) = looks.iter().min_by_key(|look| look.millis) else {
            return Err(format!("{on:?} never says anything of token {token}"));
        };
        let is_same = |request: &&Request| request.by == on && request.digest == digest;
        if self.requests.iter().filter(is_same).count() < WAITING {
            // A read that is under way is joined as if its word were there already.
            let known = self.model.beliefs(on, &digest, false, at, &looks);
            let began = Look { from: at, ..*first };
            self.requests.push(Request { by: on, digest, asked, known, began });
        }
        Ok(())
    }

    /// Sees which of the requests have their answer by now.
    pub(super) async fn answer_requests(&mut self) -> Result<(), Complaint> {
        let mut waiting = Vec::new();
        for mut request in std::mem::take(&mut self.requests) {
            let Request { by, digest, .. } = request;
            let Some(decision) = self.drive(request.asked.as_mut()).await else {
                let held = self.stores[by as usize].own.held();
                if !held.iter().any(|(other, _)| *other == digest) {
                    return Err(format!("{by:?} never answers a request whose read was released"));
                }
                waiting.push(request);
                continue;
            };
            if !self.model.knows(&digest) {
                continue;
            }
            let (mut reach, at) = (self.reach(by), self.common.last());
            // It may be told so, too, if it has waited for longer than a read may take.
            reach.may_fail |= self.model.millis - request.began.millis >= 2_000;
            let mut allowed = self.model.verdicts(by, &digest, reach, at);
            let since = Look { to: at, ..request.began };
            allowed.extend(self.model.judged(&self.model.seen(&digest, since)));
            allowed.extend(self.model.judged(&request.known));
            self.judge(by, &digest, "at last ", decision, &allowed)?;
        }
        self.requests.append(&mut waiting);
        self.heed_all()
    }

    fn ask(&self, on: Process, token: usize, authoritative: bool) -> Asked {
        let (auth, text) = (self.auths[on as usize].clone(), self.tokens[token].text.clone());
        Box::pin(ask(auth, text, authoritative))
    }

    fn judge(
        &mut self,
        on: Process,
        digest: &TokenDigest,
        how: &str,
        decision: Result<AuthenticatedKey, Rejection>,
        allowed: &[Verdict],
    ) -> Result<(), Complaint> {
        self.tally.decisions += 1;
        let verdict = verdict(&decision);
        if !allowed.contains(&verdict) {
            let token = self.tokens.iter().position(|token| token.digest == *digest);
            return Err(format!(
                "{on:?} says {how}of token {token:?}: {decision:?}, {verdict:#?}, and ought to \
                 say one of: {allowed:#?}"
            ));
        }
        if let Ok(key) = decision {
            self.tally.admissions += 1;
            self.admitted.insert((on as usize, *digest), key);
        }
        Ok(())
    }
}

async fn ask(
    auth: Authenticator,
    text: String,
    authoritative: bool,
) -> Result<AuthenticatedKey, Rejection> {
    if authoritative {
        auth.authenticate_authoritative(&text).await
    } else {
        auth.authenticate(&text).await
    }
}

fn verdict(decision: &Result<AuthenticatedKey, Rejection>) -> Verdict {
    match decision {
        Ok(key) => Verdict::Admitted(Known {
            id: key.id(),
            owner: number_of(key.owner().id().as_str()),
            active: key.key().is_active(),
            expires: key.key().expires_at(),
            scopes: bits_of(key.key().scopes()),
            owner_active: key.owner().is_active(),
            owner_staff: key.owner().is_staff(),
        }),
        Err(rejection) => match rejection.kind() {
            RejectionKind::Unknown => Verdict::Unknown,
            RejectionKind::Expired => Verdict::Expired,
            RejectionKind::KeyInactive => Verdict::KeyInactive,
            RejectionKind::OwnerInactive => Verdict::OwnerInactive,
            kind if kind.is_unavailable() => Verdict::Busy,
            kind => unreachable!("a token alone is never {kind}"),
        },
    }
}
