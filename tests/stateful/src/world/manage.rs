//! Asking the managers for changes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use chrono::TimeDelta;
use tower_token_auth::{
    ImportedKey, KeyError, KeyManager, KeyUpdate, NewKey, Owner, OwnerUpdate, Record, Rotation,
};

use super::{FOREIGN, ISSUED, Token, World};
use crate::{
    backend::Backend,
    model::{
        Complaint, Model,
        orders::{Answer, Decision, Order, Refusal},
        rows::{Moment, OWNERS, OwnerRow, Row, scopes_of},
    },
    step::{self, Fate, Process},
    watched::{Event, MANAGING},
};

/// How a manager's call ended.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
enum Ended {
    Told(Result<Told, KeyError>),
    /// It was dropped, or it panicked.
    Cut,
}

enum Told {
    Key(Record),
    Made(Record, String),
    Imported(Record, bool),
    Count(u64),
    Owner(Owner),
    Noted(bool),
}

impl<B: Backend> World<B> {
    pub(super) async fn manage(
        &mut self,
        by: Process,
        order: &step::Order,
        fate: Fate,
    ) -> Result<(), Complaint> {
        let (order, token) = self.resolve(order);
        let own = Arc::clone(&self.stores[by as usize].own);
        own.set_fate(fate);
        let (was_down, now) = (own.is_down(), self.model.wall);
        // It looks the key up, and reads the time when it comes to change that.
        let mut may_begin = vec![now];
        let mut waits = 0;
        let ended = {
            let call = call(self.auths[by as usize].keys(), order.clone(), token, now);
            let mut call = Box::pin(MANAGING.scope((), call));
            let cut = std::future::poll_fn(|cx| {
                match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
                    Ok(Poll::Ready(told)) => Poll::Ready(Ended::Told(told)),
                    Ok(Poll::Pending) if own.hangs.swap(false, Ordering::SeqCst) => {
                        Poll::Ready(Ended::Cut)
                    }
                    Ok(Poll::Pending) => Poll::Pending,
                    Err(_) => Poll::Ready(Ended::Cut),
                }
            });
            let mut cut = pin!(cut);
            loop {
                if let Some(ended) = self.drive(cut.as_mut()).await {
                    break ended;
                }
                // It may wait for a repair that hangs, for as long as one try may take.
                waits += 1;
                if waits > 4 {
                    return Err(format!("{order:?} never ends"));
                }
                self.advance(11_000).await;
                if matches!(order, Order::RevokeToken(_)) {
                    may_begin.push(self.model.wall);
                }
            }
        };
        self.rest().await;
        own.set_fate(Fate::Answered);
        // What would come of the order after each thing that happened meanwhile: a call that writes
        // nothing goes by one of these, and nobody sees by which.
        let would = |model: &Model| model.would(by, &order, now);
        let mut moments = vec![would(&self.model)];
        let (mut answered, mut is_held_up) = (None, false);
        // It settles what was lost before. If its try is in vain, the next one may come while it is
        // being told so.
        let mut was_unsettled = self.model.holds_up(by, &order);
        let mut is_in_vain = waits > 0;
        self.listen();
        for event in self.common.drain() {
            match event {
                Event::Write(write) if write.by_manager => {
                    self.is_changed = true;
                    let Some(answer) = self.model.ordered(&order, &may_begin, &write)? else {
                        is_held_up = true;
                        continue;
                    };
                    is_held_up = false;
                    answered = Some(match (answered, answer) {
                        (None, answer) => answer,
                        // Of many keys some were changed by somebody else, others came of it.
                        (Some(Ok(Answer::Count(one))), Ok(Answer::Count(more))) => {
                            Ok(Answer::Count(one + more))
                        }
                        (Some(Ok(Answer::Count(_))), Err(refusal)) => Err(refusal),
                        // Once more, after it took away what only kept its place.
                        (Some(_), answer) if matches!(order, Order::Import { .. }) => answer,
                        (Some(_), _) => return Err(format!("{order:?} wrote twice")),
                    });
                    moments.clear();
                }
                other => {
                    is_in_vain |= matches!(&other, Event::Write(write) if write.is_lost());
                    self.heed(other)?;
                }
            }
            was_unsettled |= self.model.holds_up(by, &order);
            moments.push(would(&self.model));
        }
        let is_done = |would: &Result<Decision, Refusal>| {
            would.as_ref().is_ok_and(|decision| decision.edits.is_empty())
        };
        let expected = match answered {
            Some(Ok(Answer::Count(_))) if !moments.iter().any(is_done) => {
                return Err(format!("{order:?} left undone: {moments:#?}"));
            }
            _ if is_held_up => vec![Err(Refusal::Unavailable)],
            // One owner's keys ought to be ended all, and those were that could be.
            Some(Ok(count)) if matches!(order, Order::RevokeAll(_)) && was_unsettled => {
                vec![Ok(count), Err(Refusal::Unavailable)]
            }
            Some(answer) => vec![answer],
            None if order.is_invalid(now) => vec![Err(Refusal::Invalid)],
            None if was_down => vec![Err(Refusal::Unavailable)],
            None => {
                let without_write =
                    moments.into_iter().filter(|would| would.is_err() || is_done(would));
                let answers = without_write.map(|would| would.map(|decision| decision.answer));
                let may_be_held_up = self.model.holds_up(by, &order) || was_unsettled && is_in_vain;
                answers.chain(may_be_held_up.then_some(Err(Refusal::Unavailable))).collect()
            }
        };
        let actual = self.compare_answer(&order, ended, &expected)?;
        self.tally.asked += 1;
        self.tally.made += usize::from(actual.is_ok());
        self.tally.lost += usize::from(actual == Err(Refusal::Unknown));
        Ok(())
    }

    fn compare_answer(
        &mut self,
        order: &Order,
        ended: Ended,
        expected: &[Result<Answer, Refusal>],
    ) -> Result<Result<Answer, Refusal>, Complaint> {
        let mut issued = None;
        let actual = match ended {
            Ended::Cut => Err(Refusal::Unknown),
            Ended::Told(Err(error)) => Err(refusal(&error)?),
            Ended::Told(Ok(told)) => Ok(match told {
                Told::Key(record) => Answer::Key(Row::of(record.key())),
                Told::Made(record, token) => {
                    issued = Some(token);
                    Answer::Key(Row::of(record.key()))
                }
                Told::Imported(record, is_new) => Answer::Imported(Row::of(record.key()), is_new),
                Told::Count(count) => Answer::Count(count),
                Told::Owner(owner) => Answer::Owner(OwnerRow::of(&owner)),
                Told::Noted(is_written) => Answer::Noted(is_written),
            }),
        };
        if !expected.contains(&actual) {
            return Err(format!("{order:?} answered {actual:#?}, and ought to: {expected:#?}"));
        }
        if let Order::Delete(id) = order {
            self.gone = *id;
        }
        if let Some(token) = issued {
            self.make_room();
            self.learn(token);
        }
        Ok(actual)
    }

    /// Forgets an issued token: the oldest one whose key is gone, or else the oldest one.
    fn make_room(&mut self) {
        let issued = FOREIGN.len()..self.tokens.len();
        if issued.len() >= ISSUED {
            let is_gone = |place: &usize| self.model.truth(&self.tokens[*place].digest).is_none();
            let place = issued.clone().find(is_gone).unwrap_or(issued.start);
            let Token { digest, .. } = self.tokens.remove(place);
            self.model.forget_token(&digest);
        }
    }

    /// What the numbers of an order mean by now; and the token, if it speaks of one.
    fn resolve(&self, order: &step::Order) -> (Order, String) {
        let now = self.model.wall;
        let ahead = |seconds: u32| now + TimeDelta::seconds(seconds.into());
        let beside = |seconds: i32| now + TimeDelta::seconds(seconds.into());
        let key = |number| self.key(number);
        let order = match *order {
            step::Order::Create { owner, expires_in, scopes, active } => {
                Order::Create { owner, expires: expires_in.map(ahead), scopes, active }
            }
            step::Order::Import { token, owner, expires_in, active } => {
                let digest = self.tokens[self.token(token)].digest;
                Order::Import { digest, owner, expires: expires_in.map(beside), active }
            }
            step::Order::Activate { key: number } => Order::Activate(key(number)),
            step::Order::Deactivate { key: number } => Order::Deactivate(key(number)),
            step::Order::Toggle { key: number } => Order::Toggle(key(number)),
            step::Order::Update { key: number, expires_in, scopes } => {
                let expires = expires_in.map(|given| given.map(beside));
                Order::Update { key: key(number), expires, scopes }
            }
            step::Order::Rotate { key: number, grace, expires_in } => {
                let grace = TimeDelta::seconds(grace.into());
                Order::Rotate { key: key(number), grace, expires: expires_in.map(ahead) }
            }
            step::Order::Delete { key: number } => Order::Delete(key(number)),
            step::Order::Accessed { key: number } => Order::Accessed(key(number)),
            step::Order::RevokeToken { token } => {
                let token = &self.tokens[self.token(token)];
                return (Order::RevokeToken(token.digest), token.text.clone());
            }
            step::Order::RevokeAll { owner } => Order::RevokeAll(owner),
            step::Order::DeleteExpired => Order::DeleteExpired,
            step::Order::SetOwner { owner, active, staff } => {
                Order::SetOwner { owner, active, staff }
            }
        };
        (order, String::new())
    }
}

async fn call(
    keys: KeyManager,
    order: Order,
    token: String,
    now: Moment,
) -> Result<Told, KeyError> {
    let name = |owner: u8| OWNERS[owner as usize];
    Ok(match order {
        Order::Create { owner, expires, scopes, active } => {
            let new = NewKey::named("key").scopes(scopes_of(scopes)).active(active);
            let new = expires.map_or(new.clone(), |at| new.expires_at(at));
            let (record, token) = keys.create(Owner::staff(name(owner)), new).await?;
            Told::Made(record, token.expose().to_owned())
        }
        Order::Import { digest, owner, expires, active } => {
            let new = NewKey::named("key").active(active);
            let new = expires.map_or(new.clone(), |at| new.expires_at(at));
            let key = ImportedKey::new(digest.to_hex(), Owner::staff(name(owner))).like(new);
            let imported = keys.import(key).await?;
            Told::Imported(imported.record, imported.is_new)
        }
        Order::Activate(id) => Told::Key(keys.activate(id).await?),
        Order::Deactivate(id) => Told::Key(keys.deactivate(id).await?),
        Order::Toggle(id) => Told::Key(keys.toggle_active(id).await?),
        Order::Update { key, expires, scopes } => {
            let update = KeyUpdate::new();
            let update = expires.map_or(update.clone(), |at| update.expires_at(at));
            let update = scopes.map_or(update.clone(), |bits| update.scopes(scopes_of(bits)));
            Told::Key(keys.update(key, update).await?)
        }
        Order::Rotate { key, grace, expires } => {
            let grace = grace.to_std().unwrap_or(Duration::ZERO);
            let rotation = Rotation::with_grace(grace);
            let rotation = expires.map_or(rotation.clone(), |at| rotation.expires_at(Some(at)));
            let (record, token) = keys.rotate(key, rotation).await?;
            Told::Made(record, token.expose().to_owned())
        }
        Order::Delete(id) => Told::Key(keys.delete(id).await?),
        Order::Accessed(id) => Told::Noted(keys.accessed(id).await?),
        Order::RevokeToken(_) => Told::Key(keys.revoke_token(&token).await?),
        Order::RevokeAll(owner) => Told::Count(keys.revoke_all(name(owner)).await?),
        Order::DeleteExpired => Told::Count(keys.delete_expired(now).await?),
        Order::SetOwner { owner, active, staff } => {
            let update = OwnerUpdate::new();
            let update = active.map_or(update.clone(), |active| update.active(active));
            let update = staff.map_or(update.clone(), |staff| update.staff(staff));
            Told::Owner(keys.update_owner(name(owner), update).await?)
        }
    })
}

fn refusal(error: &KeyError) -> Result<Refusal, Complaint> {
    let kinds = [
        (error.is_business_rule(), Refusal::Rule),
        (error.is_not_found(), Refusal::NotFound),
        (error.is_duplicate(), Refusal::Duplicate),
        (error.is_invalid(), Refusal::Invalid),
        (error.is_unavailable(), Refusal::Unavailable),
        (error.is_outcome_unknown(), Refusal::Unknown),
    ];
    let kind = kinds.into_iter().find(|(is_it, _)| *is_it);
    kind.map(|(_, refusal)| refusal).ok_or_else(|| format!("an error of no kind: {error}"))
}
