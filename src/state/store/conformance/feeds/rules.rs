//! The rules of `RevocationFeed`.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    super::together::drop_after,
    FeedFixture,
    ear::{Ear, PATIENCE, Told, ok, rule},
};
use crate::{
    state::store::feed::{Heard, RevocationFeed as _},
    value::subject::Subject,
};

/// A key, and an owner in turn.
async fn change(fixture: &impl FeedFixture, round: usize) -> Subject {
    if round.is_multiple_of(2) {
        Subject::Key(fixture.change_key().await)
    } else {
        Subject::Owner(fixture.change_owner().await)
    }
}

pub(super) async fn told_by_itself(fixture: &impl FeedFixture) {
    let mut ear = Ear::of(fixture).await;
    for round in 0..4 {
        let subject = change(fixture, round).await;
        ear.hears_of(&subject, "a change is told without a probe being sent").await;
    }
}

pub(super) async fn told_before_the_answer(fixture: &impl FeedFixture) {
    let mut ear = Ear::of(fixture).await;
    for round in 0..20 {
        let subject = change(fixture, round).await;
        let told = ear.told().await;
        let holds = told.covers(&subject);
        rule(holds, "what was committed before a probe is told before its answer");
    }
}

pub(super) async fn answers_as_asked(fixture: &impl FeedFixture) {
    let mut ear = Ear::of(fixture).await;
    // As 64 bits, with and without a sign, and as the integers that a JSON number keeps.
    for nonce in [0, 1 << 53 | 1, i64::MAX as u64, 1 << 63, u64::MAX] {
        ear.probe(nonce).await;
        ear.until(nonce).await;
    }
}

pub(super) async fn later_probes_stand_for_earlier_ones(fixture: &impl FeedFixture) {
    let mut ear = Ear::of(fixture).await;
    let mut changed = Vec::new();
    for round in 0..4 {
        ear.nonce += 1;
        ear.probe(ear.nonce).await;
        changed.push(change(fixture, round).await);
    }
    // The last of five; the earlier ones need no answer of their own.
    let told = ear.told().await;
    let holds = changed.iter().all(|subject| told.covers(subject));
    rule(holds, "what was committed before a later probe is told before that one's answer");
}

pub(super) async fn large_changes(fixture: &impl FeedFixture) {
    let mut ear = Ear::of(fixture).await;
    let changed = fixture.change_many().await;
    let told = ear.told().await;
    let holds = changed.iter().all(|subject| told.covers(subject));
    rule(holds, "of a large change every subject is told, or everything");
}

pub(super) async fn dropped_next(fixture: &impl FeedFixture) {
    let mut ear = Ear::of(fixture).await;
    for round in 0..40 {
        let mut told = Told::default();
        // Waiting when it happens, and not.
        if let Some(heard) = drop_after(round % 3, ear.feed.next()).await {
            told.add(ok(heard, "next"));
        }
        let subject = change(fixture, round).await;
        for polls in 0..round % 7 {
            if let Some(heard) = drop_after(polls, ear.feed.next()).await {
                told.add(ok(heard, "next"));
            }
        }
        // Whenever the timer of an authenticator runs out; a feed may need a moment to look.
        let come = timeout(PATIENCE, async {
            let mut span = Duration::from_micros(50);
            while !told.covers(&subject) {
                if let Ok(heard) = timeout(span, ear.feed.next()).await {
                    told.add(ok(heard, "next"));
                }
                span *= 2;
            }
        });
        rule(come.await.is_ok(), "what a dropped `next` had taken in is told by the next call");
    }
    // And an answer.
    ear.nonce += 1;
    ear.probe(ear.nonce).await;
    for polls in 0..4 {
        match drop_after(polls, ear.feed.next()).await {
            Some(Ok(Heard::Alive(nonce))) if nonce == ear.nonce => return,
            _ => {}
        }
    }
    ear.until(ear.nonce).await;
}

pub(super) async fn listening_anew(fixture: &impl FeedFixture) {
    let mut ear = Ear::of(fixture).await;
    for round in 0..4 {
        // By a feed that has not told everything, and has a probe under way. What was changed before
        // it listens need not be told.
        change(fixture, round + 1).await;
        ear.nonce += 1;
        ear.probe(ear.nonce).await;
        ear.listen().await;
        let subject = change(fixture, round).await;
        let told = ear.told().await;
        let holds = told.covers(&subject);
        rule(holds, "what is committed after `listen` answered is told, of a second one too");
    }
}

pub(super) async fn dropped_listen_and_probe(fixture: &impl FeedFixture) {
    for polls in 0..12 {
        let mut ear = Ear::of(fixture).await;
        if polls % 2 == 0 {
            drop_after(polls / 2 + 1, ear.feed.listen()).await;
        } else {
            ear.nonce += 1;
            drop_after(polls / 2 + 1, ear.feed.probe(ear.nonce)).await;
        }
        ear.listen().await;
        let subject = change(fixture, polls).await;
        let told = ear.told().await;
        let holds = told.covers(&subject);
        rule(holds, "a feed whose `listen` or `probe` was dropped can listen anew");
    }
}

pub(super) async fn side_by_side(fixture: &impl FeedFixture) {
    let (mut one, mut other) = (Ear::of(fixture).await, Ear::of(fixture).await);
    for round in 0..4 {
        // Both have probes under way of the very same nonce: each has to hear its own.
        let nonce = 1_000 + round as u64;
        one.probe(nonce).await;
        one.until(nonce).await;
        let subject = change(fixture, round).await;
        other.probe(nonce).await;
        let holds = other.until(nonce).await.covers(&subject);
        rule(
            holds,
            "an answer is that to a probe of one's own, and comes behind what was committed",
        );
        let holds = one.told().await.covers(&subject);
        rule(holds, "every feed that listens is told of a change");
    }
}

pub(super) async fn gaps(fixture: &impl FeedFixture) {
    let mut ear = Ear::of(fixture).await;
    for round in 0..4 {
        if !fixture.break_line().await {
            return;
        }
        let lost = change(fixture, round).await;
        // Asked meanwhile as well, and only afterwards.
        let meanwhile = if round < 2 { None } else { ear.told_or_gap().await };
        fixture.mend_line().await;
        let told = match meanwhile {
            None => ear.told_or_gap().await,
            told => told,
        };
        // None: an error, or no answer, by which an authenticator knows as well.
        let holds = told.is_none_or(|told| told.covers(&lost));
        rule(holds, "what may have gone unheard is an error, or told as everything");
        ear.listen_again().await;
        let subject = change(fixture, round).await;
        let told = ear.told().await;
        let holds = told.covers(&subject);
        rule(holds, "a feed that listens again behind an error tells of changes again");
    }
}
