//! The keys of `expect`.

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::read::section;
use crate::config::values::*;
use crate::policy::{PathPattern, Protocol};

section! {
    /// Files that are expected by a time of day. They count once they are stored whole, or renamed to a path
    /// that matches.
    Expect {
        /// A unique name, for metrics, the log and `lockgate expected`.
        [required] name: Leaf<Text>,
        /// The sessions whose files count; every condition must hold. Absent: all.
        r#match: ExpectMatch,
        /// A pattern over whole paths, as the client sees them, or a list of patterns, as in rules: `*` and `?`
        /// match within a name, `**` also slashes ("/in/*.csv").
        [required] path: OneOrMore<PathPattern>,
        /// How many files, from 1 to 10000. A file that is stored again in the same window counts once.
        /// Default: 1.
        at_least: Leaf<UpTo<10000>>,
        /// When they are due: "06:00", or "24:00" for the end of the day.
        [required] by: Leaf<TimeOfDay>,
        /// When files begin to count: "22:00". From `by` on it is a time of the day before. Until it comes again
        /// for the next due day, files are late. Default: "00:00".
        from: Leaf<TimeOfDay>,
        /// The days on which files are due: weekdays or ranges of them, mon-fri, sat. Absent: every day.
        days: OneOrMore<Days>,
        /// The time zone, such as Europe/Berlin. Default: UTC.
        zone: Leaf<TimeZone>,
    }
    hints [
        "route" => "routes have no names: write match, with users, groups, listeners or backends",
        "paths" => "write path, with one pattern or a list",
        "users" => "conditions belong under `match`",
        "count" => "write at_least",
        "due" => "write by",
        "times" => "write from, by, days and zone",
    ]
}

section! {
    /// Conditions on the sessions whose files count.
    ExpectMatch {
        /// Names of users, or patterns ("pay-*").
        users: OneOrMore<UserGlob>,
        /// Groups of users whom the gateway authenticates.
        groups: OneOrMore<Text>,
        /// Names of listeners.
        listeners: OneOrMore<Text>,
        /// Names of backends.
        backends: OneOrMore<Text>,
        /// What the client speaks: ftp or sftp.
        protocols: OneOrMore<Protocol>,
        /// Networks of clients.
        sources: OneOrMore<IpNet>,
    }
    hints [
        "paths" => "write path, beside match",
        "path" => "write path, beside match",
    ]
}
