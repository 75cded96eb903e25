//! Uploads under a temporary name, to servers that do not rename onto an existing file.

use super::{before, client};
use crate::support::raw::Reply;
use crate::support::scripted::Scripted;

const REFUSAL: &str = "550 the backend does not overwrite";

/// Which renames to `/a` the server refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// All while the old file exists.
    WhileTaken,
    /// That of the new file.
    NewForGood,
    /// All.
    AllForGood,
}

/// Uploads to the existing `/a`: the last reply, and the server's commands about names, with `NEW` and
/// `ASIDE` for the names that the gateway chose.
fn upload(refused: Refused) -> (Reply, Vec<String>) {
    let backend = Scripted::start(move |peer| {
        peer.greet()?;
        // A possible folder is not moved aside.
        peer.answer("FEAT", "211-\r\n SIZE\r\n211 end");
        peer.answer("SIZE", "213 3");
        let new = peer.until("STOR")?.replace("STOR ", "");
        peer.take()?;
        let (mut taken, mut source) = (true, String::new());
        loop {
            let line = peer.until_any(&["RNFR", "RNTO"])?;
            if let Some(name) = line.strip_prefix("RNFR ") {
                name.clone_into(&mut source);
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
    let commands =
        lines.into_iter().filter(|line| about_names.iter().any(|verb| line.starts_with(verb)));
    (last, commands.map(|line| line.replace(&new, "NEW").replace(&aside, "ASIDE")).collect())
}

#[test]
fn the_old_file_is_moved_aside_and_deleted_last() {
    let (last, commands) = upload(Refused::WhileTaken);
    assert_eq!(last.code, 226, "{}", last.text);
    assert_eq!(
        commands,
        ["RNFR NEW", "RNTO /a", "RNFR /a", "RNTO ASIDE", "RNFR NEW", "RNTO /a", "DELE ASIDE"]
    );
}

#[test]
fn the_old_file_is_restored_if_the_rename_fails() {
    for refused in [Refused::NewForGood, Refused::AllForGood] {
        let (last, commands) = upload(refused);
        assert_eq!(last.text, format!("{REFUSAL}\r\n"));
        assert_eq!(
            commands,
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
