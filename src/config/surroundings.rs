//! What of this machine a configuration is judged by, beside the files that it names.

use std::ops::RangeInclusive;
use std::path::Path;

/// The machine.
pub(super) struct Surroundings {
    /// The gateway is to run here. Else its configuration is only looked at, maybe on another machine,
    /// and what only the gateway's own machine can have may be absent.
    pub runs_here: bool,
    /// An environment variable; `None` where it is absent or no UTF-8.
    pub variable: fn(&str) -> Option<String>,
    /// The ports that the kernel gives to outgoing connections; `None` where it does not say.
    pub ephemeral: Option<RangeInclusive<u16>>,
    /// Those of them that it leaves alone.
    pub reserved: Vec<RangeInclusive<u16>>,
}

impl Surroundings {
    pub(super) fn of_this_machine(runs_here: bool) -> Self {
        let setting = |name: &str| {
            let path = Path::new("/proc/sys/net/ipv4").join(name);
            std::fs::read_to_string(path).unwrap_or_default()
        };
        Self {
            runs_here,
            variable: |name| std::env::var(name).ok(),
            ephemeral: first_and_last(&setting("ip_local_port_range")),
            reserved: list(&setting("ip_local_reserved_ports")),
        }
    }

    /// The first port of the range that an outgoing connection may take.
    pub(super) fn first_taken(&self, ports: &RangeInclusive<u16>) -> Option<u16> {
        let ephemeral = self.ephemeral.as_ref()?;
        let free = |port: &u16| !self.reserved.iter().any(|range| range.contains(port));
        ports.clone().find(|port| ephemeral.contains(port) && free(port))
    }
}

/// First and last, blanks between.
fn first_and_last(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last))) = (numbers.next(), numbers.next()) else { return None };
    Some(first..=last)
}

/// `50000-50099,8080`.
fn list(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_settings_are_understood() {
        assert_eq!(first_and_last("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(first_and_last(""), None);
        assert_eq!(list("50000-50099,8080\n"), [50000..=50099, 8080..=8080]);
        assert!(list("\n").is_empty());
        let here = Surroundings {
            runs_here: true,
            variable: |_| None,
            ephemeral: Some(32768..=60999),
            reserved: vec![50000..=50049],
        };
        assert_eq!(here.first_taken(&(50000..=50049)), None);
        assert_eq!(here.first_taken(&(50000..=50099)), Some(50050));
        assert_eq!(here.first_taken(&(61000..=65535)), None);
        assert!(Surroundings::of_this_machine(true).ephemeral.is_some());
    }
}
