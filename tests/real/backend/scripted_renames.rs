//! Uploads under a temporary name, to servers that do not rename onto a file that is there.

use super::{before, client};
use crate::support::raw::Reply;
use crate::support::scripted::Scripted;

const REFUSAL: &str = "550 the backend does not overwrite";

/// Who may not take the name `/a`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// Anybody while the old file has it.
    WhileTaken,
    /// The new file.
    NewForGood,
    /// Anybody.
    AllForGood,
}

/// Uploads to `/a`, which is there: the last reply, and what the server was told about names, with
/// `NEW` and `ASIDE` for the names that the gateway chose.
fn upload(refused: Refused) -> (Reply, Vec<String>) {
    let backend = Scripted::start(move |peer| {
        peer.greet()?;
        // What may be a folder is not put aside.
        peer.answer("FEAT", "211-\r\n SIZE\r\n211 end");
        peer.answer("SIZE", "213 3");
        let new = peer.until("STOR")?.replace("STOR ", "");
        peer.take()?;
        let (mut taken, mut source) = (true, String::new());
        loop {
            let line = peer.until_any(&["RNFR", "RNTO"])?;
            if let Some(name) = line.strip_prefix("RNFR ") {
                source = name.to_owned();
                peer.reply("350 to which name?")?;
                continue;
            }
            let onto = line == "RNTO /a";
            let refuses = match refused {
                Refused::WhileTaken => taken,
                Refused::NewForGood => source == new,
                Refused::AllForGood => true,
            };
            if onto && refuses {
                peer.reply(REFUSAL)?;
            } else {
                taken = onto || (taken && source != "/a");
                peer.reply("250 renamed")?;
            }
        }
    });
    let gateway = before(&backend, ", partial_uploads: temporary-name");
    let mut client = client(&gateway, "back");
    let last = client.upload("STOR a", b"new");
    client.expect("NOOP", 200);
    let lines = backend.lines();
    let argument = |line: &String| line.split_once(' ').map(|(_, name)| name.to_owned());
    let new = lines.iter().find(|line| line.starts_with("STOR ")).and_then(argument);
    let new = new.expect("an upload");
    assert!(new.starts_with("/.lockgate-"), "{new}");
    let aside = lines.iter().filter(|line| line.starts_with("RNTO ")).filter_map(argument);
    let aside =
        aside.into_iter().find(|name| name != "/a").expect("a name to put the old one aside");
    assert!(aside.starts_with("/.lockgate-") && aside != new, "{aside}");
    let about_names = ["RNFR ", "RNTO ", "DELE "];
    let told =
        lines.into_iter().filter(|line| about_names.iter().any(|verb| line.starts_with(verb)));
    (last, told.map(|line| line.replace(&new, "NEW").replace(&aside, "ASIDE")).collect())
}

#[test]
fn the_old_file_is_moved_aside_and_deleted_last() {
    let (last, told) = upload(Refused::WhileTaken);
    assert_eq!(last.code, 226, "{}", last.text);
    assert_eq!(
        told,
        ["RNFR NEW", "RNTO /a", "RNFR /a", "RNTO ASIDE", "RNFR NEW", "RNTO /a", "DELE ASIDE"]
    );
}

#[test]
fn the_old_file_is_restored_if_the_rename_fails() {
    for refused in [Refused::NewForGood, Refused::AllForGood] {
        let (last, told) = upload(refused);
        assert_eq!(last.text, format!("{REFUSAL}\r\n"));
        assert_eq!(
            told,
            [
                "RNFR NEW",
                "RNTO /a",
                "RNFR /a",
                "RNTO ASIDE",
                "RNFR NEW",
                "RNTO /a",
                "RNFR ASIDE",
                "RNTO /a"
            ]
        );
    }
}
