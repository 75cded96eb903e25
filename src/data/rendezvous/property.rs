//! In any order of events, no connection is delivered to the wrong reservation, and nothing is left over.

mod world;

use proptest::prelude::*;

use super::client_key::ClientMatch;
use world::World;

const CLIENTS: u8 = 2;
const SESSIONS: u64 = 16;

#[derive(Debug, Clone)]
enum Event {
    /// A session requests a port, under TLS or not, and releases its previous one.
    Reserve {
        session: u64,
        tls: bool,
    },
    /// Its client connects to the port that it received last, which may be released meanwhile. It resumes
    /// its own session, or another one that shares its store.
    Connect {
        session: u64,
        own: bool,
    },
    /// A stranger connects, with the ticket of a session or with none.
    Stray {
        client: u8,
        port: u16,
        resumes: Option<u64>,
    },
    /// An unidentified connection sends its ClientHello, or is closed.
    SendHello {
        which: usize,
    },
    Disconnect {
        which: usize,
    },
    Cancel {
        session: u64,
    },
    LeaveQueue {
        session: u64,
    },
    AdvanceTime {
        millis: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let session = 0..SESSIONS;
    prop_oneof![
        4 => (session.clone(), any::<bool>()).prop_map(|(session, tls)| Event::Reserve { session, tls }),
        6 => (session.clone(), any::<bool>()).prop_map(|(session, own)| Event::Connect { session, own }),
        2 => (0..CLIENTS, 1..4u16, proptest::option::of(session.clone()))
            .prop_map(|(client, port, resumes)| Event::Stray { client, port, resumes }),
        3 => any::<usize>().prop_map(|which| Event::SendHello { which }),
        1 => any::<usize>().prop_map(|which| Event::Disconnect { which }),
        2 => session.clone().prop_map(|session| Event::Cancel { session }),
        1 => session.prop_map(|session| Event::LeaveQueue { session }),
        2 => (0..12_000u64).prop_map(|millis| Event::AdvanceTime { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_connection_is_misdelivered_and_nothing_is_left_over(
        ports in 1..4u16,
        by_network in any::<bool>(),
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let client_match = if by_network { ClientMatch::Network } else { ClientMatch::Address };
        let mut world = World::new(ports, client_match);
        events.into_iter().for_each(|event| world.apply(event));
        world.end();
    }
}

/// It sends its ClientHello when the port belongs to another session with the same store.
#[test]
fn a_silent_connection_is_not_delivered_to_a_later_reservation_of_the_same_store() {
    let mut world = World::new(1, ClientMatch::Address);
    world.apply(Event::Reserve { session: 0, tls: true });
    world.apply(Event::Reserve { session: 2, tls: true });
    world.apply(Event::Connect { session: 0, own: false });
    world.apply(Event::Reserve { session: 0, tls: false });
    world.apply(Event::Cancel { session: 0 });
    world.apply(Event::AdvanceTime { millis: 5000 });
    world.apply(Event::SendHello { which: 0 });
    world.end();
}

/// It arrives during the quarantine, and is silent until the quarantine has ended.
#[test]
fn a_late_silent_connection_is_not_delivered() {
    let mut world = World::new(1, ClientMatch::Address);
    let advance = |millis| Event::AdvanceTime { millis };
    world.apply(Event::Reserve { session: 3, tls: false });
    world.apply(advance(30_000));
    world.apply(Event::Reserve { session: 6, tls: true });
    world.apply(Event::Connect { session: 3, own: true });
    world.apply(advance(5000));
    world.apply(Event::SendHello { which: 0 });
    world.end();
}

/// A counterexample of an earlier version.
#[test]
fn sessions_of_one_network_with_a_shared_store_are_kept_apart() {
    use Event::*;
    let mut world = World::new(3, ClientMatch::Network);
    let events = [
        Connect { session: 6, own: false },
        Connect { session: 7, own: true },
        Connect { session: 3, own: false },
        SendHello { which: 7_669_438_862_009_871_583 },
        Connect { session: 9, own: false },
        Connect { session: 13, own: true },
        Connect { session: 2, own: false },
        Reserve { session: 5, tls: true },
        LeaveQueue { session: 6 },
        Reserve { session: 7, tls: false },
        Reserve { session: 2, tls: false },
        Reserve { session: 7, tls: false },
        Connect { session: 6, own: false },
        Cancel { session: 7 },
        Cancel { session: 8 },
        AdvanceTime { millis: 7500 },
        AdvanceTime { millis: 6232 },
        Reserve { session: 7, tls: true },
        Reserve { session: 1, tls: false },
        Stray { client: 0, port: 3, resumes: Some(9) },
        Connect { session: 4, own: false },
        Reserve { session: 5, tls: true },
        AdvanceTime { millis: 3140 },
        Cancel { session: 9 },
        AdvanceTime { millis: 7892 },
        Connect { session: 13, own: true },
        Stray { client: 1, port: 2, resumes: Some(8) },
        AdvanceTime { millis: 1189 },
        Cancel { session: 7 },
        SendHello { which: 13_692_900_747_170_721_073 },
        Connect { session: 7, own: true },
    ];
    events.into_iter().for_each(|event| world.apply(event));
    world.end();
}
