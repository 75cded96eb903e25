//! What the next process goes on with, in parts of limited length.

use crate::admin::{Before, Part};
use crate::app::peers::OpenLink;
use crate::app::reload::Reloader;
use crate::policy::limits::{CarriedUse, KnownUse, UseNow};
use crate::session::numbers;

/// Quotas in a part.
const PART_MAX: usize = 1000;

/// The parts, and what the next process knows of quotas when it has them. Arrivals of expected files are kept for
/// it from now on.
pub(super) fn parts(reloader: &Reloader, links: &[OpenLink]) -> (Vec<Part>, KnownUse) {
    let process = reloader.process();
    let mut parts = vec![
        Part::FirstSession(numbers::first_of_next_process()),
        Part::TicketKeys(reloader.ticket_keys()),
        Part::DrainedServers(reloader.drained_servers()),
    ];
    parts.extend(process.guard.export().into_iter().map(Part::Guard));
    parts.extend(process.expected.begin_forwarding().into_iter().map(Part::Expected));
    // At one moment, for all: sessions go on.
    let used = UseNow::of(&process.counters);
    parts.extend(divided(used.export(), Part::Used));
    for OpenLink { link, sessions, known, ports, wants } in links {
        let (sessions, ports, wants) = (*sessions, ports.clone(), wants.clone());
        parts.push(Part::Before(Before { link: link.parts(), sessions, ports, wants }));
        parts.extend(divided(used.unknown_to(known), Part::Unknown));
    }
    (parts, used.into_known())
}

fn divided(
    used: Vec<CarriedUse>,
    part: impl Fn(Vec<CarriedUse>) -> Part,
) -> impl Iterator<Item = Part> {
    let mut used = used.into_iter();
    std::iter::from_fn(move || {
        let next: Vec<_> = used.by_ref().take(PART_MAX).collect();
        (!next.is_empty()).then(|| part(next))
    })
}
