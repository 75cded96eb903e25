//! Settings that only a restart changes.

use std::collections::BTreeMap;

use super::tree::{Entry, Kind, Node};

/// The sections that a running gateway keeps.
const SECTIONS: [&str; 3] = ["audit", "log", "state_dir"];
/// The keys that it keeps of sections that it otherwise follows.
const KEYS: [(&str, &str); 3] = [("admin", "address"), ("admin", "socket"), ("metrics", "address")];

/// The settings that a running gateway keeps, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fixed(BTreeMap<String, String>);

impl Fixed {
    pub(super) fn of(root: &Node) -> Self {
        let mut found = BTreeMap::new();
        for Entry { key, value, .. } in entries(root) {
            if SECTIONS.contains(&key.as_str()) {
                found.insert(key.clone(), text(value));
            }
            for (_, kept) in KEYS.iter().filter(|(section, _)| section == key) {
                let entry = entries(value).iter().find(|it| it.key == *kept);
                found.extend(entry.map(|it| (format!("{key}.{kept}"), text(&it.value))));
            }
            if key == "data_ports" {
                for pool in entries(value) {
                    let client_match =
                        entries(&pool.value).iter().find(|it| it.key == "client_match");
                    let name = format!("data_ports.{}.client_match", pool.key);
                    // The pools of only one of two configurations do not differ.
                    found.insert(name, client_match.map_or(String::new(), |it| text(&it.value)));
                }
            }
        }
        Self(found)
    }

    /// The keys that are another in `next`, and apply only after a restart.
    pub fn changed(&self, next: &Self) -> Vec<String> {
        let keys = self.0.keys().chain(next.0.keys().filter(|key| !self.0.contains_key(*key)));
        let differs = |key: &&String| {
            let (one, other) = (self.0.get(*key), next.0.get(*key));
            one != other && (!key.starts_with("data_ports.") || one.is_some() && other.is_some())
        };
        keys.filter(differs).cloned().collect()
    }

    /// With those of `running` that a reload keeps: what is in force after it.
    pub fn kept(self, running: &Self) -> Self {
        let mut kept = running.0.clone();
        for (key, value) in self.0 {
            if key.starts_with("data_ports.") {
                kept.entry(key).or_insert(value);
            }
        }
        Self(kept)
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.kind {
        Kind::Map(entries) => entries,
        _ => &[],
    }
}

/// The same for the same content, whatever the layout and the order of keys.
fn text(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "~".into(),
        Kind::Scalar(scalar) => format!("{scalar:?}"),
        Kind::List(items) => {
            format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(","))
        }
        Kind::Map(entries) => {
            let mut all: Vec<_> =
                entries.iter().map(|it| format!("{:?}:{}", it.key, text(&it.value))).collect();
            all.sort();
            format!("{{{}}}", all.join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::report::Problems;
    use crate::config::tree;

    fn of(text: &str) -> Fixed {
        Fixed::of(&tree::parse(text, &mut Problems::default()).unwrap())
    }

    #[test]
    fn changes_of_what_a_restart_changes_are_found_by_content() {
        let running = of("log: { level: info, format: json }\nlimits: { sessions: 5 }\n\
                          data_ports: { a: { range: 1-2 } }");
        let same = of("limits: { sessions: 6 }\nlog:\n  format: json\n  level: \"info\"\n\
                       data_ports: { b: { client_match: network } }");
        assert_eq!(running.changed(&same), [""; 0]);
        let other = of("log: { level: debug }\nmetrics: { address: \"[::1]:9640\" }\n\
                        admin: { address: \"[::1]:9641\", token_file: token }\n\
                        data_ports: { a: { client_match: network } }");
        let changed = ["data_ports.a.client_match", "log", "admin.address", "metrics.address"];
        assert_eq!(running.changed(&other), changed);
        assert_eq!(other.clone().kept(&running).changed(&other), changed);
    }
}
