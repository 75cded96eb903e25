//! The keys of `policy`.

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::read::{Many, section};
use crate::config::values::*;
use crate::policy::limits::{OperationRate, Per};
use crate::policy::{PathPattern, Protocol};

section! {
    /// What users may do. Absent: whatever the backend allows.
    Policy {
        /// Nothing is refused: what the rules and uploads would refuse is logged. Default: false.
        dry_run: Leaf<bool>,
        /// The rules. Each operation is decided by the first that matches; one that none matches is
        /// denied. Absent: whatever the backend allows.
        rules: Many<Rule>,
        /// Further conditions on uploads that the rules allow. All that match apply.
        uploads: Many<Uploads>,
        /// Limits on bandwidth, sessions, transfers, operations and daily amounts. All that match apply.
        limits: Many<PolicyLimit>,
    }
    hints [
        "default" => "the last rule decides the rest: { name: rest, allow: all }",
        "rule" => "write rules, with a list",
    ]
}

section! {
    /// A rule. It has one of allow, deny and hide: a list of operations (list, read, create, overwrite,
    /// append, delete, rename, mkdir, rmdir, attributes, link; or all), or of FTP commands ("STOU", "SITE
    /// CHMOD"), which are allowed unless a rule denies them.
    Rule {
        /// A unique name, for the log and for `lockgate explain`.
        [required] name: Leaf<Text>,
        /// When the rule applies; every condition must hold. Absent: always.
        r#match: RuleMatch,
        /// The operations that it allows.
        allow: OneOrMore<OperationWord>,
        /// The operations that it denies.
        deny: OneOrMore<OperationWord>,
        /// The operations that it denies as if there were no such file. Listings leave out what may not be
        /// listed, and files that may not be read, by a rule with hide.
        hide: OneOrMore<OperationWord>,
        /// With deny: what the client reads.
        message: Leaf<Text>,
        /// What the rule would decide is only logged; the next rules decide. Default: false.
        dry_run: Leaf<bool>,
    }
    hints [
        "paths" => "conditions belong under `match`",
        "operations" => "write allow, deny or hide, with a list of operations",
        "effect" => "write allow, deny or hide, with a list of operations",
        "action" => "write allow, deny or hide, with a list of operations",
    ]
}

section! {
    /// Conditions of a rule.
    RuleMatch {
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
        /// true: only under TLS or SSH; for FTP transfers and listings only under PROT P. false: only
        /// without.
        encrypted: Leaf<bool>,
        /// Networks of clients.
        sources: OneOrMore<IpNet>,
        /// Patterns over whole paths, as the client sees them: `*` and `?` match within a name, `**` also
        /// slashes ("/in/**", "/**/*.csv"). To list a folder, a pattern for all that is below it suffices.
        paths: OneOrMore<PathPattern>,
        /// Extensions of file names, without the dot and without case ("csv").
        extensions: OneOrMore<Extension>,
        /// Times of day and weekdays.
        times: Times,
    }
}

section! {
    /// Times of day and weekdays in a time zone. A file that is open stays open when they end.
    Times {
        /// Weekdays or ranges of them: mon-fri, sat. Absent: every day.
        days: OneOrMore<Days>,
        /// "08:00-18:00". Hours that end before they start go on after midnight ("22:00-06:00") and belong
        /// to the day on which they start. Absent: the whole day.
        hours: Leaf<Hours>,
        /// The time zone, such as Europe/Berlin or UTC.
        [required] zone: Leaf<TimeZone>,
    }
}

section! {
    /// Conditions on uploads.
    Uploads {
        /// A unique name, for the log and for `lockgate explain`.
        [required] name: Leaf<Text>,
        /// When the entry applies; every condition must hold. Absent: always.
        r#match: RuleMatch,
        /// Patterns over file names, without case ("*.csv"): others are refused, also as new names.
        allowed_names: OneOrMore<NameGlob>,
        /// Patterns over file names, without case ("*.exe") that are refused, also as new names.
        denied_names: OneOrMore<NameGlob>,
        /// The largest file. What is longer is cut off, as `partial_uploads` of the backend says.
        max_size: Leaf<Bytes>,
        /// Whether a stored file cannot be overwritten, continued, renamed or deleted. Default: false.
        write_once: Leaf<bool>,
    }
    hints ["max_file_size" => "write max_size"]
}

section! {
    /// A limit for the sessions that match.
    PolicyLimit {
        /// Its name, unique: in refusals, metrics and the log.
        [required] name: Leaf<Text>,
        /// The sessions that it applies to; every condition must hold. Absent: all.
        r#match: LimitMatch,
        /// What shares it: user (default: all sessions of a user), session (each has its own), listener,
        /// backend, or all (all sessions that match).
        per: Leaf<Per>,
        /// Bytes of files a second, uploads and downloads together: "20MiB/s", "1Gbit/s". At least
        /// 64kbit/s.
        bandwidth: Leaf<Bandwidth>,
        /// The same for uploads only.
        upload_bandwidth: Leaf<Bandwidth>,
        /// The same for downloads only.
        download_bandwidth: Leaf<Bandwidth>,
        /// Sessions open at once; more logins are refused.
        sessions: Leaf<Count>,
        /// Files transferred at once; more are refused. Over SFTP each open file counts.
        transfers: Leaf<Count>,
        /// Operations, also listings and the start of transfers: "100/s" or "30/min". More wait, for up to
        /// 30 seconds.
        operations: Leaf<OperationRate>,
        /// Bytes of files in a day (UTC), uploads and downloads together: "10GiB". Then transfers end.
        bytes_per_day: Leaf<DailyBytes>,
        /// Files transferred in a day (UTC). Then transfers are refused.
        files_per_day: Leaf<Count>,
    }
    hints ["rate" => "write bandwidth or operations"]
}

section! {
    /// Conditions of a limit.
    LimitMatch {
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
        "paths" => "limits apply to whole sessions; rules have paths",
        "encrypted" => "limits apply to whole sessions; rules have encrypted",
    ]
}
