//! The samples of `config/` with rules, each run with a folder behind it, over FTP.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::ftp::act;
use super::step::Step;
use super::table::never;
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::pki::pki;
use crate::support::ports;
use crate::support::raw::Raw;
use crate::support::ssh::keys;

/// The password of the samples' hashes.
const PASSWORD: &str = "replace-me";

/// A running sample.
struct Sample {
    gateway: Gateway,
    listener: &'static str,
    folder: TempDir,
}

impl Sample {
    /// With free ports, clients of this machine, and a folder with `files` in place of its server. `changes`:
    /// other replacements in its text.
    fn start(
        name: &str,
        listener: &'static str,
        changes: &[(&str, &str)],
        files: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("making a folder");
            fs::write(path, content).expect("writing a file");
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        let mut text = fs::read_to_string(file).expect("reading a sample");
        let start = text.find("backends:\n").expect("backends") + "backends:\n".len();
        let end = start + text[start..].find("\n\n").expect("an empty line");
        let backend = text[start..end].lines().next().expect("a backend").to_owned();
        let local = format!("{backend} {{ protocol: local, folder: {:?} }}", folder.path());
        text.replace_range(start..end, &local);
        let pool = ports::block(16);
        let range = format!("range: {}-{}", pool.start(), pool.end());
        let addresses = [
            ("range: 50000-50049", range.as_str()),
            ("range: 50000-50099", range.as_str()),
            ("10.0.0.5:21", "127.0.0.1:0"),
            ("10.0.0.5:22", "127.0.0.1:0"),
            ("0.0.0.0:21", "127.0.0.1:0"),
            ("0.0.0.0:22", "127.0.0.1:0"),
        ];
        for (from, to) in addresses {
            text = text.replace(from, to);
        }
        for (from, to) in changes {
            assert!(text.contains(from), "{name} does not contain {from:?}");
            text = text.replace(from, to);
        }
        let files: [(&str, &Path); 3] = [
            ("tls.crt", &pki().certificate),
            ("tls.key", &pki().key),
            ("ssh_host_ed25519_key", &keys().host[0]),
        ];
        let gateway = Gateway::start_by(Command::new(PROGRAM), &text, &files);
        Self { gateway, listener, folder }
    }

    /// Each step must come out as written.
    #[track_caller]
    fn run(&self, user: &str, tls: bool, steps: &[&str]) {
        let (mut client, _) = Raw::connect(self.gateway.address(self.listener));
        if tls {
            client.auth_tls();
        }
        client.login(user, PASSWORD);
        client.expect("TYPE I", 200);
        for step in steps {
            let Step { action, expected } = Step::parse(step);
            let outcome = act(&mut client, &action);
            assert!(outcome.fits(&expected), "{user}: {step}: {outcome:?}");
        }
    }

    #[track_caller]
    fn assert_file(&self, path: &str, content: Option<&str>) {
        let found = fs::read_to_string(self.folder.path().join(path)).ok();
        assert_eq!(found.as_deref(), content, "{path}");
    }
}

#[test]
fn partners_store_into_the_drop_box_and_the_staff_collects() {
    let sample = Sample::start(
        "partner-drop-box.yaml",
        "ftps",
        &[("198.51.100.0/24", "127.0.0.0/8")],
        &[("srv/exchange/in/old.csv", "old")],
    );
    sample.run(
        "acme",
        true,
        &[
            "CWD /in -> 250",
            "NLST -> 226 []",
            "STOR new.csv -> 226",
            "STOR new.csv = again -> 550 This is a drop box",
            "STOR /in/old.csv -> 550 This is a drop box",
            "STOR new.exe -> 553",
            "STOR .hidden.csv -> 553",
            "RETR new.csv -> 550 This is a drop box",
            "DELE new.csv -> 550 This is a drop box",
            "SIZE new.csv -> 550 No such file",
            "STOR /new.csv -> 550",
            "MKD /in/mine -> 550 This is a drop box",
        ],
    );
    sample.run(
        "staff",
        true,
        &[
            "NLST /in -> 226 [new.csv, old.csv]",
            "RETR /in/new.csv -> 226 = NEW",
            "DELE /in/old.csv -> 250",
            "STOR /in/mine.csv -> 550",
        ],
    );
    sample.assert_file("srv/exchange/in/new.csv", Some("NEW"));
    sample.assert_file("srv/exchange/in/old.csv", None);
}

#[test]
fn readers_of_the_mirror_see_no_drafts_and_one_account_publishes() {
    let sample = Sample::start(
        "read-only-mirror.yaml",
        "ftp",
        &[("10.0.0.0/8", "127.0.0.0/8")],
        &[("pub/a", "a"), ("pub/b.tmp", "b"), ("pub/drafts/c", "c")],
    );
    sample.run(
        "reader",
        false,
        &[
            "NLST /pub -> 226 [a]",
            "RETR /pub/a -> 226 = a",
            "RETR /pub/b.tmp -> 550 No such file",
            "CWD /pub/drafts -> 550 No such file",
            "STOR /pub/a -> 550 This mirror is read-only",
            "RNFR /pub RNTO /elsewhere -> 550",
        ],
    );
    sample.run("publish", false, &["STOR /pub/a -> 550 This mirror is read-only"]);
    sample.run(
        "publish",
        true,
        &["NLST /pub -> 226 [a, b.tmp, drafts]", "STOR /pub/a -> 226", "DELE /pub/drafts/c -> 250"],
    );
    sample.assert_file("pub/a", Some("NEW"));
    sample.assert_file("pub/drafts/c", None);
}

#[test]
fn files_are_delivered_in_office_hours_and_collected_at_any_time() {
    let hours = "days: [mon-fri], hours: \"07:30-18:00\"";
    let files = [("partners/acme/in/old", "old"), ("partners/acme/out/a.exe", "a")];
    let now = [(hours, "days: [mon-sun]")];
    let sample = Sample::start("office-hours.yaml", "ftps", &now, &files);
    sample.run(
        "acme",
        true,
        &[
            "STOR /in/new -> 226",
            "STOR /in/old -> 226",
            "RETR /in/old -> 226 = NEW",
            "STOU -> 550 denies STOU",
            "SITE CHMOD 600 /in/old -> 550 denies SITE CHMOD",
            "STOR /out/new -> 550",
            // The rule against it is in dry run.
            "DELE /out/a.exe -> 250",
        ],
    );
    sample.assert_file("partners/acme/in/new", Some("NEW"));
    sample.assert_file("partners/acme/out/a.exe", None);

    let day = format!("days: [{}]", never());
    let sample = Sample::start("office-hours.yaml", "ftps", &[(hours, day.as_str())], &files);
    sample.run(
        "acme",
        true,
        &[
            "STOR /in/new -> 550 Files are accepted from Monday to Friday",
            "DELE /in/old -> 550 Files are accepted",
            "NLST /in -> 226 [old]",
            "RETR /out/a.exe -> 226 = a",
        ],
    );
    sample.assert_file("partners/acme/in/new", None);
}
