//! What a repair makes of what stands there, by what the lost transaction read and wrote.

use chrono::{DateTime, Duration, Utc};

use super::*;
use crate::{
    state::store::{Capabilities, OwnerEdit},
    usecase::maintenance::{
        desk::{Desk, Mood},
        goal::Change,
    },
    value::{digest::TokenDigest, key::ApiKey},
};

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(minutes)
}

fn owner() -> Owner {
    Owner::staff("ada")
}

/// An active key that does not expire, with the scopes a and b.
fn key() -> ApiKey {
    let digest = TokenDigest::of(Default::default(), "token");
    let id = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    ApiKey::new(id, digest, "ada".into(), at(0)).with_name("key").with_scopes(["a", "b"])
}

/// The same, changed at that minute.
fn edited(minute: i64, edit: impl FnOnce(ApiKey) -> ApiKey) -> ApiKey {
    edit(key()).with_updated_at(at(minute))
}

/// The key by which another one was replaced.
fn successor() -> ApiKey {
    let digest = TokenDigest::of(Default::default(), "its token");
    let id = "00000000-0000-4000-8000-000000000002".parse().unwrap();
    ApiKey::new(id, digest, "ada".into(), at(2)).with_name("key").with_scopes(["a", "b"])
}

fn inactive(key: ApiKey) -> ApiKey {
    key.with_active(false)
}

fn renamed(key: ApiKey) -> ApiKey {
    key.with_name("renamed")
}

fn expiring(minute: i64) -> impl Fn(ApiKey) -> ApiKey {
    move |key| key.with_expires_at(Some(at(minute)))
}

fn scoped<const N: usize>(scopes: [&'static str; N]) -> impl Fn(ApiKey) -> ApiKey {
    move |key| key.with_scopes(scopes)
}

fn again(before: ApiKey, after: ApiKey) -> Goal {
    Goal::Again(Change { before, after, owner: owner(), is_overtaken: false })
}

/// No flag, no expiry that could be changed, nothing but coming and going.
fn plain() -> Capabilities {
    Capabilities::minimal()
}

/// Makes the repair on a store with this row; then once more, as after an answer that was lost; then
/// a third time, by a store that loses the answer itself. All must leave the same row.
async fn made(
    goal: &Goal,
    can: Capabilities,
    now: Option<ApiKey>,
    its_owner: Owner,
) -> Option<ApiKey> {
    let desk = Desk::able_to(can);
    if let Some(now) = now {
        desk.put(now, its_owner).await;
    }
    let repair = Repair::Keys(vec![goal.clone()]);
    repair.make(&desk).await.unwrap();
    let row = desk.row(key().id()).await;
    repair.make(&desk).await.unwrap();
    assert_eq!(desk.row(key().id()).await, row, "made again");
    desk.becomes(Mood::Loses);
    let _ = repair.make(&desk).await;
    desk.becomes(Mood::Works);
    repair.make(&desk).await.unwrap();
    assert_eq!(desk.row(key().id()).await, row, "made again after its answer was lost");
    row
}

/// What a change read and wrote, what stands there now, and what is to stand there in the end. Times
/// tell who wrote last: 0 what was there, 2 the lost change, 3 somebody since.
///
/// Seen to fail with `after` written whatever stands there, and with nothing written on a changed row
/// ("off, renamed since"); without `denies_again`; with the stamp of the row left as it is ("a clock
/// behind"); with uses taken for a change; and with `narrowed_by` that forgets the flag, the expiry, or
/// the scopes.
#[tokio::test]
async fn a_change_is_made_again_or_less_what_it_gave() {
    let off = || edited(2, inactive);
    let was_off = || edited(0, inactive);
    let on = || edited(2, |key| key);
    let table = [
        ("off, not landed", (key(), off()), Some(key()), Some(off())),
        ("off, landed", (key(), off()), Some(off()), Some(off())),
        (
            "off, renamed since",
            (key(), off()),
            Some(edited(3, renamed)),
            Some(edited(3, |key| inactive(renamed(key)))),
        ),
        (
            "off, renamed since by a clock behind",
            (key(), off()),
            Some(edited(1, renamed)),
            Some(edited(2, |key| inactive(renamed(key)))),
        ),
        ("off, deleted since", (key(), off()), None, None),
        (
            "off again, switched on since",
            (was_off(), off()),
            Some(edited(3, |key| key)),
            Some(edited(3, inactive)),
        ),
        ("on, not landed", (was_off(), on()), Some(was_off()), Some(on())),
        ("on, landed", (was_off(), on()), Some(on()), Some(on())),
        (
            "on, switched off since",
            (was_off(), on()),
            Some(edited(3, inactive)),
            Some(edited(3, inactive)),
        ),
        ("on, deleted since", (was_off(), on()), None, None),
        (
            "wider, changed since",
            (edited(0, scoped(["a"])), on()),
            Some(edited(3, scoped(["a", "c"]))),
            Some(edited(3, scoped(["a", "c"]))),
        ),
        (
            "narrower, changed since",
            (key(), edited(2, scoped(["a"]))),
            Some(edited(3, scoped(["c", "b", "a"]))),
            Some(edited(3, scoped(["c", "a"]))),
        ),
        (
            "others, changed since",
            (key(), edited(2, scoped(["b", "c"]))),
            Some(edited(3, scoped(["a", "b"]))),
            Some(edited(3, scoped(["b"]))),
        ),
        (
            "earlier, changed since",
            (key(), edited(2, expiring(50))),
            Some(edited(3, expiring(70))),
            Some(edited(3, expiring(50))),
        ),
        (
            "earlier, and earlier still since",
            (edited(0, expiring(60)), edited(2, expiring(50))),
            Some(edited(3, expiring(40))),
            Some(edited(3, expiring(40))),
        ),
        (
            "later, changed since",
            (edited(0, expiring(50)), edited(2, expiring(60))),
            Some(edited(3, expiring(40))),
            Some(edited(3, expiring(40))),
        ),
        (
            "for ever, not landed",
            (edited(0, expiring(50)), on()),
            Some(edited(0, expiring(50))),
            Some(on()),
        ),
        (
            "for ever, changed since",
            (edited(0, expiring(50)), on()),
            Some(edited(3, |key| renamed(expiring(50)(key)))),
            Some(edited(3, |key| renamed(expiring(50)(key)))),
        ),
        (
            "renamed, and renamed since",
            (key(), edited(2, renamed)),
            Some(edited(3, |key| key.with_name("other"))),
            Some(edited(3, |key| key.with_name("other"))),
        ),
        (
            "used since is no change",
            (was_off(), on()),
            Some(was_off().with_last_used_at(Some(at(9)))),
            Some(on().with_last_used_at(Some(at(9)))),
        ),
    ];
    for (what, (before, after), now, expected) in table {
        let goal = again(before, after);
        let row = made(&goal, Capabilities::all(), now, owner()).await;
        assert_eq!(row, expected, "{what}");
    }
}

/// Who judged the key by an owner's row must not have it made active under another one.
///
/// Seen to fail without the look at the owner in `Change::again`.
#[tokio::test]
async fn what_was_judged_by_another_owner_s_row_gives_nothing() {
    let (was_off, on) = (edited(0, inactive), edited(2, |key| key));
    let (can, changed) = (Capabilities::all(), owner().with_staff(false));
    let goal = again(was_off.clone(), on.clone());
    let row = made(&goal, can, Some(was_off.clone()), changed.clone()).await;
    assert_eq!(row, Some(was_off), "not landed: it stays inactive");
    let row = made(&goal, can, Some(on.clone()), changed.clone()).await;
    assert_eq!(row, Some(on), "landed: it was judged by the row that stood there then");
    let off = edited(2, inactive);
    let row = made(&again(key(), off.clone()), can, Some(key()), changed).await;
    assert!(!row.unwrap().is_active(), "what it took away is taken");
}

/// A row that looks as it did, on a store that is known to have written it since.
///
/// Seen to fail with an `is_overtaken` that `Change::again` ignores, and with goals that are overtaken by
/// whatever is changed.
#[tokio::test]
async fn of_what_was_overtaken_only_what_it_takes_away_is_left() {
    let (can, by) = (Capabilities::all(), [Subject::Key(key().id())]);
    let (was_off, on, off) = (edited(0, inactive), edited(2, |key| key), edited(2, inactive));
    let left = |goal: Goal| goal.overtaken(&by);
    let goal = left(again(was_off.clone(), on.clone())).unwrap();
    assert_eq!(made(&goal, can, Some(was_off.clone()), owner()).await, Some(was_off));
    let goal = left(again(key(), off.clone())).unwrap();
    assert_eq!(made(&goal, can, Some(key()), owner()).await, Some(off.clone()));
    assert!(left(Goal::Restore { before: key(), after: off }).is_none());
    assert!(matches!(left(Goal::Stay { key: key(), owner: owner() }), Some(Goal::Stay { .. })));
    assert!(matches!(left(Goal::Void { key: key(), owner: owner() }), Some(Goal::Void { .. })));
    assert!(matches!(left(Goal::Delete(key())), Some(Goal::Delete(_))));
    let back = Goal::Return { key: key(), owner: owner(), successor: successor() };
    assert!(matches!(left(back), Some(Goal::Void { .. })));
    let others = [Subject::Key(successor().id())];
    let goal = again(key(), on).overtaken(&others).unwrap();
    assert!(matches!(goal, Goal::Again(Change { is_overtaken: false, .. })), "another key");
}

/// Seen to fail with nothing claimed (nothing keeps the lost one out), with the successor left as one,
/// with the key deleted although there is a flag, and with the flag set where there is none.
#[tokio::test]
async fn a_key_whose_token_nobody_has_becomes_inactive_or_goes() {
    let made_key = key().with_predecessor(Some(successor().id()));
    let goal = Goal::Void { key: made_key.clone(), owner: owner() };
    let void = inactive(key());
    let can = Capabilities::all();
    assert_eq!(made(&goal, can, None, owner()).await, Some(void.clone()), "not landed");
    assert_eq!(made(&goal, can, Some(made_key.clone()), owner()).await, Some(void), "landed");
    let since = renamed(made_key.clone()).with_updated_at(at(3));
    let row = made(&goal, can, Some(since), owner()).await.unwrap();
    assert_eq!((row.name(), row.is_active(), row.predecessor()), ("renamed", false, None));
    for now in [None, Some(made_key)] {
        assert_eq!(made(&goal, plain(), now, owner()).await, None, "without a flag");
    }
}

/// Without a flag a row stands for a moment where the lost one would: it can't be used then either.
///
/// Seen to fail without the expiry in `void`, and with a flag there that the schema does not keep.
#[tokio::test]
async fn what_keeps_a_lost_key_out_can_not_be_used_itself() {
    for can in [Capabilities::all(), plain()] {
        let goal = Goal::Void { key: key(), owner: owner() };
        let (claim, _) = goal.claim(can.activation).unwrap();
        // Without a flag every key that is read is active.
        let claim = if can.activation { claim } else { claim.with_active(true) };
        let record = crate::value::key::Record::new(claim, owner());
        assert_ne!(record.status_at(at(1)), crate::value::key::Status::Usable);
    }
}

/// Where there is none, nobody can tell whether it never landed or was deleted elsewhere since.
///
/// Seen to fail with the key itself in the claim's place, and with the claim left there.
#[tokio::test]
async fn an_imported_key_stays_and_is_not_added_again() {
    let goal = Goal::Stay { key: key(), owner: owner() };
    for can in [Capabilities::all(), plain()] {
        assert_eq!(made(&goal, can, None, owner()).await, None);
        // The claim of an earlier try whose answer was lost.
        let (claim, _) = goal.claim(can.activation).unwrap();
        let record = crate::value::key::Record::new(claim.clone(), owner());
        assert_ne!(record.status_at(at(1)), crate::value::key::Status::Usable);
        assert_eq!(made(&goal, can, Some(claim), owner()).await, None);
        for now in [key(), edited(3, inactive)] {
            assert_eq!(made(&goal, can, Some(now.clone()), owner()).await, Some(now), "stands");
        }
    }
}

/// Seen to fail with a key that is not found taken for a failure.
#[tokio::test]
async fn a_deleted_key_is_deleted_whatever_became_of_it() {
    let goal = Goal::Delete(key());
    for can in [Capabilities::all(), plain()] {
        for now in [None, Some(key()), Some(edited(3, renamed))] {
            assert_eq!(made(&goal, can, now, owner()).await, None);
        }
    }
}

/// A rotation wrote its expiry and its flag; what was written since by others stands.
///
/// Seen to fail with `before` written whatever stands there ("switched off since"), without the second
/// look of `is_as_written` (the last line), and with uses taken for a change.
#[tokio::test]
async fn a_predecessor_is_put_back_only_where_it_is_as_the_rotation_left_it() {
    let after = edited(2, |key| inactive(expiring(2)(key)));
    let goal = Goal::Restore { before: key(), after: after.clone() };
    let can = Capabilities::all();
    let used = after.clone().with_last_used_at(Some(at(9)));
    let table = [
        ("landed", Some(after.clone()), Some(key())),
        ("landed, and used in its grace", Some(used), Some(key().with_last_used_at(Some(at(9))))),
        ("not landed", Some(key()), Some(key())),
        ("switched off since", Some(edited(3, inactive)), Some(edited(3, inactive))),
        (
            "as the rotation left it, but written since",
            Some(after.clone().with_updated_at(at(3))),
            Some(after.clone().with_updated_at(at(3))),
        ),
        ("deleted since", None, None),
        ("a schema without `updated_at`", Some(after.with_updated_at(at(0))), Some(key())),
    ];
    for (what, now, expected) in table {
        assert_eq!(made(&goal, can, now, owner()).await, expected, "{what}");
    }
}

/// Where a rotation deletes the old key: both rows tell whether it landed.
///
/// Seen to fail with the old key put back whatever the new one is ("deleted since"), and with a duplicate
/// taken for a failure (the last line).
#[tokio::test]
async fn a_key_deleted_for_its_successor_returns_if_that_stands_as_it_was_left() {
    let goal = Goal::Return { key: key(), owner: owner(), successor: successor() };
    let changed = || successor().with_expires_at(Some(at(9)));
    let table = [
        ("landed", vec![successor()], Some(key())),
        ("not landed", vec![key()], Some(key())),
        ("not landed, and deleted since", vec![], None),
        ("landed, and the successor changed since", vec![changed()], None),
        ("landed, and added again since", vec![key(), successor()], Some(key())),
    ];
    for (what, rows, expected) in table {
        let desk = Desk::able_to(plain());
        for row in rows {
            desk.put(row, owner()).await;
        }
        for _ in 0..2 {
            Repair::Keys(vec![goal.clone()]).make(&desk).await.unwrap();
            assert_eq!(desk.row(key().id()).await, expected, "{what}");
            assert_eq!(desk.row(successor().id()).await, None, "{what}");
        }
    }
}

/// A whole rotation, with an older key whose grace it ended.
///
/// Seen to fail with nothing claimed, with the new key left a successor, and with the new key deleted
/// although there is a flag.
#[tokio::test]
async fn a_lost_rotation_leaves_the_old_key_alone() {
    let older_key = {
        let id = "00000000-0000-4000-8000-000000000003".parse().unwrap();
        let digest = TokenDigest::of(Default::default(), "older");
        ApiKey::new(id, digest, "ada".into(), at(0))
    };
    let (old, new) = (key(), successor().with_predecessor(Some(key().id())));
    let left = edited(2, |key| expiring(60)(key));
    let ended = inactive(older_key.clone()).with_updated_at(at(2));
    let goals = vec![
        Goal::Restore { before: old.clone(), after: left.clone() },
        Goal::Void { key: new.clone(), owner: owner() },
        again(older_key.clone(), ended.clone()),
    ];
    for has_landed in [false, true] {
        let desk = Desk::new();
        let rows = if has_landed {
            vec![left.clone(), new.clone(), ended.clone()]
        } else {
            vec![old.clone(), older_key.clone()]
        };
        for row in rows {
            desk.put(row, owner()).await;
        }
        Repair::Keys(goals.clone()).make(&desk).await.unwrap();
        assert_eq!(desk.row(old.id()).await, Some(old.clone()), "landed: {has_landed}");
        let void = inactive(new.clone().with_predecessor(None));
        assert_eq!(desk.row(new.id()).await, Some(void), "landed: {has_landed}");
        // What a change takes away is taken in any case.
        assert_eq!(desk.row(older_key.id()).await, Some(ended.clone()), "landed: {has_landed}");
    }
}

/// A lost transaction that is still under way must find its rows written since.
///
/// Seen to fail with rows that stand left alone.
#[tokio::test]
async fn every_row_is_written_even_as_it_stands() {
    let after = edited(2, inactive);
    let goals = [
        (again(key(), after.clone()), after.clone()),
        (again(key(), after.clone()), edited(3, inactive)),
        (Goal::Restore { before: key(), after: after.clone() }, key()),
        (Goal::Restore { before: key(), after }, edited(3, inactive)),
        (Goal::Void { key: key(), owner: owner() }, inactive(key())),
    ];
    for (goal, now) in goals {
        let desk = Desk::new();
        desk.put(now, owner()).await;
        Repair::Keys(vec![goal.clone()]).make(&desk).await.unwrap();
        assert_eq!(desk.written(), 1, "{goal:?}");
    }
}

/// What an error tells: nothing, so that it is tried again.
///
/// Seen to fail with errors of the change that count as an end, and with those of the insertion before it.
#[tokio::test]
async fn an_answer_that_is_not_definite_is_no_end() {
    let after = edited(2, inactive);
    let goals = [
        again(key(), after.clone()),
        Goal::Void { key: successor(), owner: owner() },
        Goal::Delete(key()),
    ];
    for goal in goals {
        for mood in [Mood::Fails, Mood::Loses] {
            let desk = Desk::new();
            desk.put(key(), owner()).await;
            desk.becomes(mood);
            assert!(Repair::Keys(vec![goal.clone()]).make(&desk).await.is_err(), "{goal:?}");
        }
    }
    // The row that is to keep a lost one out: the change behind it finds nothing.
    for goal in [
        Goal::Void { key: successor(), owner: owner() },
        Goal::Stay { key: successor(), owner: owner() },
    ] {
        let desk = Desk::new();
        desk.becomes(Mood::FailsOnce);
        assert!(Repair::Keys(vec![goal.clone()]).make(&desk).await.is_err(), "{goal:?}");
    }
}

/// An owner's row, by the same rules.
///
/// Seen to fail with `after` written whatever stands there, with it written on the row as it was read, with
/// nothing taken away, with an owner who is gone taken for a failure, with accounts or the flag left out of
/// `narrowed_by`, and with an `is_overtaken` that is ignored (one who was to be made is made after all).
#[tokio::test]
async fn an_owner_s_change_is_made_again_or_less_what_it_gave() {
    let plain = || Owner::new("ada");
    let staff = || plain().with_staff(true);
    let off = || staff().with_active(false);
    let named = |owner: Owner| owner.with_username("Ada");
    let member = |accounts: &[&str]| plain().with_accounts(accounts.iter().copied());
    // What it read and wrote, what stands there, what is to stand there.
    let table = [
        (Some(staff()), off(), Some(staff()), Some(off())),
        (Some(staff()), off(), Some(off()), Some(off())),
        (Some(staff()), off(), Some(named(staff())), Some(named(off()))),
        // Another process may have switched it off again since.
        (Some(off()), staff(), Some(off()), Some(off())),
        (Some(off()), staff(), Some(staff()), Some(staff())),
        (Some(off()), staff(), Some(named(off())), Some(named(off()))),
        (Some(staff()), off(), None, None),
        (Some(plain()), staff(), Some(named(plain())), Some(named(plain()))),
        (Some(staff()), plain(), Some(named(staff())), Some(named(plain()))),
        (
            Some(member(&["a", "b"])),
            member(&["b", "c"]),
            Some(member(&["a", "b", "d"])),
            Some(member(&["b", "d"])),
        ),
        (None, staff(), None, Some(staff())),
        (None, staff(), Some(staff()), Some(staff())),
        (None, staff(), Some(plain()), Some(plain())),
    ];
    for (before, after, now, expected) in table {
        let what = format!("{before:?} -> {after:?} on {now:?}");
        let desk = Desk::new();
        if let Some(now) = now.clone() {
            let mut edit = |_: Option<&Owner>, _: Option<&Owner>| Some(now.clone());
            repository_change(&desk, &mut edit).await;
        }
        let mut repair = Repair::Owner { id: "ada".into(), before, after, is_overtaken: false };
        for _ in 0..2 {
            repair.make(&desk).await.unwrap();
            assert_eq!(stored(&desk).await, expected, "{what}");
        }
        desk.becomes(Mood::Fails);
        assert!(repair.make(&desk).await.is_err(), "{what}");
        // Once it is known that it was overtaken, it gives nothing.
        let desk = Desk::new();
        if let Some(now) = now.clone() {
            let mut edit = |_: Option<&Owner>, _: Option<&Owner>| Some(now.clone());
            repository_change(&desk, &mut edit).await;
        }
        repair.overtaken(&[Subject::Owner("ada".into())]);
        repair.make(&desk).await.unwrap();
        let Repair::Owner { before, after, .. } = repair else { unreachable!() };
        let narrowed = now.map(|now| match before {
            Some(before) => now.narrowed_by(&before, &after),
            None => now,
        });
        assert_eq!(stored(&desk).await, narrowed, "{what}, overtaken");
    }
}

async fn repository_change(desk: &Desk, edit: OwnerEdit<'_>) {
    let desk: &dyn DynRepository = desk;
    desk.change_owner(&"ada".into(), None, edit).await.unwrap();
}

async fn stored(desk: &Desk) -> Option<Owner> {
    let desk: &dyn DynRepository = desk;
    desk.owner(&"ada".into()).await.unwrap()
}
