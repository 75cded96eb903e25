//! Delays and bans on a paused clock.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::time::advance;

use super::*;

const ATTACKER: [u8; 4] = [192, 0, 2, 1];
const OTHER: [u8; 4] = [192, 0, 2, 2];

fn guard(settings: GuardSettings) -> Arc<LoginGuard> {
    LoginGuard::new(settings, &Registry::new()).unwrap()
}

fn address(address: impl Into<IpAddr>) -> IpAddr {
    address.into()
}

fn fail(guard: &LoginGuard, from: impl Into<IpAddr>, times: u32) {
    let from = from.into();
    // Each of another user.
    (0..times).for_each(|n| guard.login_refused(from, Some(&n.to_ne_bytes())));
}

#[tokio::test(start_paused = true)]
async fn a_source_is_delayed_then_banned_for_a_time() {
    let guard = guard(GuardSettings::default());
    let (attacker, other) = (address(ATTACKER), address(OTHER));
    let mut delays = Vec::new();
    for _ in 0..9 {
        delays.push(guard.delay(attacker, b"x").as_millis());
        fail(&guard, attacker, 1);
    }
    assert_eq!(delays, [0, 0, 0, 250, 500, 1000, 2000, 4000, 5000]);
    assert!(!guard.is_banned(attacker));
    fail(&guard, attacker, 1);
    assert!(guard.is_banned(attacker) && !guard.is_banned(other));
    assert_eq!(guard.delay(other, b"x"), Duration::ZERO);
    let [ban] = guard.bans().try_into().unwrap();
    assert_eq!((ban.source, ban.failures), (Source::of(attacker), 10));
    assert_eq!(ban.remaining, Duration::from_secs(900));
    advance(Duration::from_secs(899)).await;
    // Refusals while it is banned change nothing.
    fail(&guard, attacker, 50);
    assert!(guard.is_banned(attacker));
    advance(Duration::from_secs(1)).await;
    assert!(!guard.is_banned(attacker) && guard.bans().is_empty());
    assert_eq!(guard.delay(attacker, b"x"), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn failures_count_for_find_time() {
    let guard = guard(GuardSettings::default());
    for _ in 0..100 {
        fail(&guard, ATTACKER, 1);
        // Nine within ten minutes.
        advance(Duration::from_secs(70)).await;
    }
    assert!(!guard.is_banned(address(ATTACKER)));
    assert_eq!(guard.delay(address(ATTACKER), b"x"), Duration::from_secs(5));
    advance(Duration::from_secs(600)).await;
    assert_eq!(guard.delay(address(ATTACKER), b"x"), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_source_is_its_64() {
    let guard = guard(GuardSettings::default());
    for last in 0..10 {
        let address: IpAddr = format!("2001:db8:0:1::{last}").parse().unwrap();
        fail(&guard, address, 1);
    }
    assert!(guard.is_banned("2001:db8:0:1:ffff::1".parse().unwrap()));
    assert!(!guard.is_banned("2001:db8:0:2::1".parse().unwrap()));
    assert_eq!(guard.bans()[0].source.to_string(), "2001:db8:0:1::/64");
    assert!(guard.lift("2001:db8:0:1::9".parse().unwrap()));
    assert!(guard.bans().is_empty());
    // An IPv4 address in IPv6's form is the IPv4 address.
    fail(&guard, ATTACKER, 10);
    assert!(guard.is_banned("::ffff:192.0.2.1".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_user_is_delayed_but_never_locked_out() {
    let guard = guard(GuardSettings::default());
    let honest = address([198, 51, 100, 7]);
    for n in 0..1000_u32 {
        guard.login_refused(address(n.to_be_bytes()), Some(b"alice"));
    }
    assert_eq!(guard.delay(honest, b"alice"), Duration::from_secs(5));
    assert_eq!(guard.delay(honest, b"bob"), Duration::ZERO);
    assert!(!guard.is_banned(honest));
    advance(Duration::from_secs(600)).await;
    assert_eq!(guard.delay(honest, b"alice"), Duration::ZERO);
    // Shorter where the login would not be done in time.
    let delay_max = Duration::from_secs(1);
    let guard = self::guard(GuardSettings { delay_max, ..GuardSettings::default() });
    (0..50).for_each(|_| guard.login_refused(address(ATTACKER), Some(b"alice")));
    assert_eq!(guard.delay(honest, b"alice"), delay_max);
}

#[tokio::test(start_paused = true)]
async fn exempt_networks_are_neither_banned_nor_delayed() {
    let exempt = vec!["192.0.2.0/31".parse().unwrap()];
    let guard = guard(GuardSettings { exempt, ..GuardSettings::default() });
    fail(&guard, ATTACKER, 100);
    fail(&guard, OTHER, 100);
    fail(&guard, [127, 0, 0, 1], 100);
    assert!(!guard.is_banned(address(ATTACKER)));
    assert_eq!(guard.delay(address(ATTACKER), b"x"), Duration::ZERO);
    assert!(guard.is_banned(address(OTHER)) && guard.is_banned(address([127, 0, 0, 1])));
    let default = GuardSettings::default();
    assert!(
        default.is_exempt(address([127, 0, 0, 1])) && default.is_exempt("::1".parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_ban_time_nobody_is_banned() {
    let guard = guard(GuardSettings { ban_time: Duration::ZERO, ..GuardSettings::default() });
    fail(&guard, ATTACKER, 100);
    assert!(!guard.is_banned(address(ATTACKER)));
    assert_eq!(guard.delay(address(ATTACKER), b"x"), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_lifted_ban_forgets_the_failures() {
    let guard = guard(GuardSettings::default());
    fail(&guard, ATTACKER, 10);
    assert!(guard.lift(address(ATTACKER)));
    assert!(!guard.is_banned(address(ATTACKER)) && !guard.lift(address(ATTACKER)));
    fail(&guard, ATTACKER, 9);
    assert!(!guard.is_banned(address(ATTACKER)));
}

#[tokio::test(start_paused = true)]
async fn the_state_is_bounded_and_keeps_the_newest() {
    let guard = guard(GuardSettings::default());
    for n in 0..50_000_u32 {
        guard.login_refused(address((0x0a00_0000 + n).to_be_bytes()), Some(&n.to_ne_bytes()));
        if n % 1000 == 0 {
            advance(Duration::from_millis(1)).await;
        }
    }
    {
        let state = guard.state();
        for kept in [state.sources.len(), state.users.len()] {
            assert!((SOURCES_MAX / 2..=SOURCES_MAX).contains(&kept), "{kept}");
        }
    }
    fail(&guard, (0x0a00_0000 + 49_999_u32).to_be_bytes(), 9);
    assert!(guard.is_banned(address((0x0a00_0000 + 49_999_u32).to_be_bytes())));
    for n in 0..=BANS_MAX as u32 {
        let ban =
            BanEntry { failures: 10, until: Instant::now() + Duration::from_millis(n.into()) };
        guard.state().ban(Source::of(address((0x0b00_0000 + n).to_be_bytes())), ban);
    }
    assert!(guard.state().bans.len() <= BANS_MAX);
    assert!(guard.is_banned(address((0x0b00_0000 + BANS_MAX as u32).to_be_bytes())));
}

#[tokio::test(start_paused = true)]
async fn metrics_count_bans_and_delays() {
    let registry = Registry::new();
    let guard = LoginGuard::new(GuardSettings::default(), &registry).unwrap();
    fail(&guard, ATTACKER, 10);
    fail(&guard, OTHER, 4);
    guard.delay(address(OTHER), b"x");
    (0..6).for_each(|_| guard.login_refused(address([127, 0, 0, 1]), Some(b"alice")));
    guard.delay(address([198, 51, 100, 7]), b"alice");
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        "lockgate_bans_total 1",
        "lockgate_banned_addresses 1",
        "lockgate_failed_login_addresses 1",
        "lockgate_login_delays_total{by=\"address\"} 1",
        "lockgate_login_delays_total{by=\"user\"} 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}:\n{text}");
    }
}

/// As a process that takes over goes on with it.
fn carried(from: &LoginGuard, to: &LoginGuard) {
    for part in from.export() {
        let json = serde_json::to_vec(&part).unwrap();
        to.import(serde_json::from_slice(&json).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_goes_on_with_bans_and_failures() {
    let [first, second, third] = [(); 3].map(|()| guard(GuardSettings::default()));
    // Some time since the start of the clock.
    advance(Duration::from_secs(1000)).await;
    fail(&first, ATTACKER, 10);
    fail(&first, OTHER, 3);
    // A user from many addresses.
    (0..8_u8).for_each(|n| first.login_refused(address([198, 51, 100, n]), Some(b"alice")));
    advance(Duration::from_secs(100)).await;
    carried(&first, &second);
    carried(&second, &third);
    for guard in [&second, &third] {
        assert_eq!(guard.bans()[0].remaining, Duration::from_secs(800));
        let delays = [(OTHER, "x"), ([203, 0, 113, 1], "alice"), ([203, 0, 113, 1], "bob")]
            .map(|(from, user)| guard.delay(address(from), user.as_bytes()).as_millis());
        assert_eq!(delays, [250, 1000, 0]);
    }
    // They end when they would have ended.
    advance(Duration::from_secs(500)).await;
    assert_eq!(third.delay(address(OTHER), b"alice"), Duration::ZERO);
    assert_eq!(third.bans().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_carried_has_parts_and_a_limit() {
    let (first, second) = (guard(GuardSettings::default()), guard(GuardSettings::default()));
    for n in 0..3000_u32 {
        first.login_refused(address(n.to_be_bytes()), Some(&n.to_ne_bytes()));
    }
    assert!(first.export().len() >= 6);
    for _ in 0..2 {
        carried(&first, &second);
    }
    assert_eq!(second.sources(), 3000);
    let one =
        |n: u64| CarriedGuard::Users(Box::new(NameKey::random()), vec![carried::failures_of(n)]);
    (0..USERS_MAX as u64 + 10).for_each(|n| second.import(one(n)));
    assert_eq!(second.state().users.len(), USERS_MAX);
}
