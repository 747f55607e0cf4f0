//! How cases are drawn.

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::step::{Action, End, Fate, Made, Order, Outdated, Process, RawWrite, Setting, Step};

/// A setting and so many steps.
pub fn case(steps: usize) -> impl Strategy<Value = (Setting, Vec<Step>)> {
    let some = vec(prop_oneof![8 => vec(step(), 1), 1 => scene()], steps);
    let steps =
        some.prop_map(move |some| some.into_iter().flatten().take(steps).collect::<Vec<_>>());
    (setting(), steps)
}

fn setting() -> impl Strategy<Value = Setting> {
    // Caches that never evict, so that nothing may ever be believed again that was known to be
    // outdated; and caches that hold next to nothing.
    let capacity = prop_oneof![3 => Just(64_usize), 2 => 1..4_usize];
    let negative = prop_oneof![3 => Just(64_usize), 2 => 1..3_usize];
    let ttl = select(vec![(10_000, 5_000), (3_000, 1_000), (1_000, 4_000), (3_600_000, 60_000)]);
    let stale_if_error = select(vec![0, 0, 2_000, 60_000]);
    (capacity, negative, ttl, stale_if_error).prop_map(
        |(capacity, negative_capacity, (fresh_ttl, negative_ttl), stale_if_error)| Setting {
            capacity,
            negative_capacity,
            fresh_ttl,
            negative_ttl,
            stale_if_error,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    // Mostly one action, so that every token is looked at after it; sometimes more, so that what
    // such a look teaches the caches is not always there.
    prop_oneof![3 => vec(action(), 1), 1 => vec(action(), 2..=3)].prop_map(Step)
}

/// A read that is held while its key changes: rare if each part of it had to come about by chance.
fn scene() -> impl Strategy<Value = Vec<Step>> {
    // Those by which keys are named as their tokens are.
    let token = 0..10_u8;
    (process(), process(), token, any::<bool>(), any::<bool>()).prop_flat_map(
        |(on, by, token, is_own, is_known)| {
            // What was read before hides whatever becomes of the read that is held.
            let forget = Action::Outdate(on, Outdated::Token(token));
            let forget: Vec<Action> = (!is_known).then_some(forget).into_iter().collect();
            let hold = move |authoritative| Action::Hold { on, token, authoritative };
            let release = Action::Release { on };
            let again = Action::Authoritative { on, token };
            let acts = prop_oneof![
                // Overtaken by a newer read.
                (change(token), soon()).prop_map({
                    let (release, again) = (release.clone(), again.clone());
                    move |(order, soon)| {
                        let change = Action::Manage(by, order, Fate::Answered);
                        vec![hold(true), change, soon, again.clone(), release.clone()]
                    }
                }),
                // Begun while a change is not settled, answered when it is.
                (change(token), made(), soon()).prop_map({
                    let release = release.clone();
                    move |(order, made, soon)| {
                        let fate = Fate::Lost { made, end: End::Error, times: 2, down: false };
                        vec![Action::Manage(on, order, fate), hold(true), soon, release.clone()]
                    }
                }),
                // Outdated on the way, before others join it.
                change(token).prop_map(move |order| {
                    let change = Action::Manage(on, order, Fate::Answered);
                    vec![hold(is_own), change, release.clone()]
                }),
            ];
            (acts, select(vec![Looks::Each, Looks::BeforeTheLast, Looks::Last]))
                .prop_map(move |(acts, looks)| looks.steps(forget.iter().cloned().chain(acts)))
        },
    )
}

/// Of some actions, which are followed by a look at every token: it teaches the caches what it sees.
#[derive(Clone, Copy, Debug)]
enum Looks {
    Each,
    BeforeTheLast,
    Last,
}

impl Looks {
    fn steps(self, actions: impl Iterator<Item = Action>) -> Vec<Step> {
        let mut actions: Vec<Action> = actions.collect();
        match self {
            Self::Each => actions.into_iter().map(|action| Step(vec![action])).collect(),
            Self::BeforeTheLast => {
                let last = actions.split_off(actions.len() - 1);
                vec![Step(actions), Step(last)]
            }
            Self::Last => vec![Step(actions)],
        }
    }
}

/// A change of one key.
fn change(key: u8) -> impl Strategy<Value = Order> {
    prop_oneof![
        2 => Just(Order::Deactivate { key }),
        1 => Just(Order::Activate { key }),
        1 => Just(Order::Delete { key }),
        1 => scopes().prop_map(move |bits| Order::Update { key, expires_in: None, scopes: Some(bits) }),
        1 => select(vec![0, 20]).prop_map(move |grace| Order::Rotate { key, grace, expires_in: None }),
    ]
}

fn soon() -> impl Strategy<Value = Action> {
    select(vec![0, 10, 60, 100, 500]).prop_map(|millis| Action::Advance { millis })
}

fn action() -> impl Strategy<Value = Action> {
    let on = process;
    prop_oneof![
        10 => prop_oneof![
            7 => advance(),
            1 => select(vec![1, -1, 5, -5, 3_600, -3_600])
                .prop_map(|seconds| Action::StepWall { seconds }),
        ],
        42 => (process(), order(), fate()).prop_map(|(by, order, fate)| Action::Manage(by, order, fate)),
        6 => raw().prop_map(Action::Raw),
        4 => (process(), outdated()).prop_map(|(on, what)| Action::Outdate(on, what)),
        8 => prop_oneof![
            2 => (on(), number()).prop_map(|(on, token)| Action::Authoritative { on, token }),
            2 => (on(), number()).prop_map(|(on, token)| Action::Recheck { on, token }),
            1 => (on(), number()).prop_map(|(on, token)| Action::Abandon { on, token }),
            1 => (on(), number()).prop_map(|(on, number)| Action::Junk { on, number }),
        ],
        12 => prop_oneof![
            (on(), number(), any::<bool>())
                .prop_map(|(on, token, authoritative)| Action::Hold { on, token, authoritative }),
            on().prop_map(|on| Action::Release { on }),
        ],
        12 => prop_oneof![
            9 => on().prop_map(|on| Action::Up { on }),
            1 => on().prop_map(|on| Action::Down { on }),
        ],
        1 => Just(Action::Land),
        1 => (on(), any::<bool>()).prop_map(|(on, silently)| Action::Cut { on, silently }),
        2 => on().prop_map(|on| Action::Mend { on }),
    ]
}

/// What is just enough, and just too little, for one of the time limits.
fn advance() -> impl Strategy<Value = Action> {
    let millis = vec![
        10, 60, 100, 400, 500, 799, 800, 999, 1_000, 1_500, 1_999, 2_000, 2_500, 3_000, 4_000,
        5_000, 8_000, 9_999, 10_000, 12_000, 30_000,
    ];
    select(millis).prop_map(|millis| Action::Advance { millis })
}

fn order() -> impl Strategy<Value = Order> {
    let key = number;
    let ahead = || select(vec![1_u32, 3, 10, 60, 3_600]);
    let anytime = || select(vec![60_i32, 10, 3, 1, 0, -5, 3_600]);
    prop_oneof![
        9 => (owner(), option::weighted(0.3, ahead()), scopes(), prop::bool::weighted(0.9)).prop_map(
            |(owner, expires_in, scopes, active)| Order::Create { owner, expires_in, scopes, active }
        ),
        5 => (number(), owner(), option::weighted(0.3, anytime()), prop::bool::weighted(0.9)).prop_map(
            |(token, owner, expires_in, active)| Order::Import { token, owner, expires_in, active }
        ),
        9 => prop_oneof![
            4 => key().prop_map(|key| Order::Deactivate { key }),
            3 => key().prop_map(|key| Order::Activate { key }),
            2 => key().prop_map(|key| Order::Toggle { key }),
        ],
        5 => (key(), option::of(option::of(anytime())), option::of(scopes())).prop_map(
            |(key, expires_in, scopes)| Order::Update { key, expires_in, scopes }
        ),
        6 => (key(), select(vec![0, 2, 20, 600, 3_600]), option::weighted(0.3, ahead())).prop_map(
            |(key, grace, expires_in)| Order::Rotate { key, grace, expires_in }
        ),
        3 => key().prop_map(|key| Order::Delete { key }),
        4 => prop_oneof![
            key().prop_map(|key| Order::Accessed { key }),
            number().prop_map(|token| Order::RevokeToken { token }),
            owner().prop_map(|owner| Order::RevokeAll { owner }),
            Just(Order::DeleteExpired),
        ],
        5 => (owner(), option::weighted(0.8, mostly()), option::weighted(0.3, mostly()))
            .prop_map(|(owner, active, staff)| Order::SetOwner { owner, active, staff }),
    ]
}

fn raw() -> impl Strategy<Value = RawWrite> {
    prop_oneof![
        (number(), mostly()).prop_map(|(key, active)| RawWrite::Switch { key, active }),
        number().prop_map(|key| RawWrite::Expire { key }),
        number().prop_map(|key| RawWrite::Remove { key }),
        (owner(), mostly()).prop_map(|(owner, active)| RawWrite::SwitchOwner { owner, active }),
    ]
}

fn outdated() -> impl Strategy<Value = Outdated> {
    prop_oneof![
        number().prop_map(Outdated::Key),
        owner().prop_map(Outdated::Owner),
        number().prop_map(Outdated::Token),
        Just(Outdated::All),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    let end = select(vec![End::Error, End::Dropped, End::Panic]);
    let times = prop_oneof![3 => Just(1_u8), 1 => Just(2_u8)];
    let lost = (made(), end, times, prop::bool::weighted(0.2))
        .prop_map(|(made, end, times, down)| Fate::Lost { made, end, times, down });
    prop_oneof![4 => Just(Fate::Answered), 1 => lost]
}

/// Of what would leave nothing to be admitted if it were off half of the time.
fn mostly() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.7)
}

fn made() -> impl Strategy<Value = Made> {
    select(vec![Made::Yes, Made::No, Made::Later])
}

fn process() -> impl Strategy<Value = Process> {
    select(vec![Process::One, Process::Two])
}

fn number() -> impl Strategy<Value = u8> {
    0..16_u8
}

fn owner() -> impl Strategy<Value = u8> {
    0..3_u8
}

fn scopes() -> impl Strategy<Value = u8> {
    0..8_u8
}
