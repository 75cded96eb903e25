//! Files of other servers, line by line.

use super::*;

const SHA: &str = "$5$saltsalt$yrhPKxCqiWcCE9h0g86j6Ugz7SDFdFm.BjU.d8RaQnC";
const TODAY: Days = 20_000;

#[test]
fn every_line_is_taken_or_refused_with_a_reason() {
    for (line, expected) in [
        // htpasswd
        ("alice:SHA", Ok(None)),
        ("alice:SHA\r", Ok(None)),
        // AuthUserFile, passwd
        ("alice:SHA:1001:1001:Alice:/srv/ftp/alice:/bin/false", Ok(Some("/srv/ftp/alice"))),
        ("alice:x:1001:1001::/home/alice:/bin/sh", Err("in another file")),
        // shadow
        ("alice:SHA:19000:0:99999:7:::", Ok(None)),
        ("alice:SHA:19000:0:99999:7::20001:", Ok(None)),
        ("alice:SHA:19000:0:99999:7::20000:", Err("has expired (day 20000 since 1970)")),
        ("alice:!SHA:19000:0:99999:7:::", Err("is locked")),
        ("daemon:*:19000:0:99999:7:::", Err("is locked")),
        ("alice::19000:0:99999:7:::", Err("has no password")),
        ("alice:abJnggxhB/yWI", Err("is a hash of kind DES")),
        ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Err("kind {SHA}")),
        ("alice:open sesame", Err("the password is not a password hash")),
        (
            "alice:$5$rounds=9999999$saltsalt$yrhPKxCqiWcCE9h0g86j6Ugz7SDFdFm.BjU.d8RaQnC",
            Err("rounds"),
        ),
        ("alice:realm:5f4dcc3b5aa765d61d8327deb882cf99", Err("htdigest")),
        (":SHA", Err("user name is empty")),
        ("a\tb:SHA", Err("control characters")),
        ("alice", Err("has no \":\"")),
        ("alice:SHA:a:b:c", Err("no known file")),
        ("alice:SHA:a:b:::", Err("no known file")),
    ] {
        let line = line.replace("SHA", SHA).replace(&format!("{{{SHA}}}"), "{SHA}");
        let Imported { users, refused } = import(line.as_bytes(), TODAY);
        match (expected, &users[..], &refused[..]) {
            (Ok(home), [user], []) => {
                assert_eq!((&*user.name, user.home.as_deref()), ("alice", home), "{line}");
                assert!(user.hash.verify(b"open sesame"), "{line}");
            }
            (Err(why), [], [refused]) => assert!(refused.why.contains(why), "{line}: {refused}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn comments_are_skipped_and_other_lines_are_counted() {
    let file = format!("# users\n\n  \nalice:{SHA}\nalice:{SHA}\nb\u{1b}b:{SHA}\n").into_bytes();
    let file = [&file[..], b"\xff:x\n", format!("\"q\\: {SHA}\n\"q\\:{SHA}").as_bytes()].concat();
    let imported = import(&file, TODAY);
    let names: Vec<_> = imported.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["alice", "\"q\\"]);
    let yaml = imported.to_string();
    assert_eq!(
        yaml,
        format!(
            "# not taken: line 5: alice: this user is in line 4 already\n\
             # not taken: line 6: b\\u{{1b}}b: the user name is empty or has control characters\n\
             # not taken: line 7: is not UTF-8 text\n\
             # not taken: line 8: \"q\\: the password is not a password hash (\"$argon2id$…\"); make one with \
             `lockgate hash-password`\n\
             users:\n  \"alice\": {{ password_hash: \"{SHA}\" }}\n  \"\\\"q\\\\\": {{ password_hash: \"{SHA}\" }}\n"
        )
    );
    assert_eq!(import(b"", TODAY).to_string(), "users: {}\n");
}
