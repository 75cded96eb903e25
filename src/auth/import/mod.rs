//! Users of other servers: ProFTPD's AuthUserFile and passwd files, Apache's htpasswd, shadow files.

#[cfg(test)]
mod tests;
mod yaml;

use std::collections::HashMap;

use super::PasswordHash;

/// What was found in a file.
#[derive(Debug, Default)]
pub struct Imported {
    /// In the file's order.
    pub users: Vec<ImportedUser>,
    /// In the file's order: every line that is neither a user, nor empty, nor a comment.
    pub refused: Vec<RefusedLine>,
}

/// A user of another server.
#[derive(Debug)]
pub struct ImportedUser {
    /// The name.
    pub name: String,
    /// The hash as it was.
    pub hash: PasswordHash,
    /// The home folder, unescaped; `None` if the file has none.
    pub home: Option<String>,
}

/// A line that was not taken.
#[derive(Debug, PartialEq, Eq)]
pub struct RefusedLine {
    /// From 1.
    pub line: usize,
    /// The user, unescaped; empty if the line has none.
    pub name: String,
    /// Why not, and what helps.
    pub why: String,
}

/// Days since 1970-01-01, as shadow files count.
pub type Days = i64;

/// Reads a file with one user a line, `name:hash` and further fields. `today` decides which accounts have
/// expired.
pub fn import(file: &[u8], today: Days) -> Imported {
    let mut imported = Imported::default();
    let mut lines_of_names: HashMap<String, usize> = HashMap::new();
    for (line, bytes) in file.split(|byte| *byte == b'\n').enumerate() {
        let line = line + 1;
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let Ok(text) = std::str::from_utf8(bytes) else {
            let (name, why) = (String::new(), "is not UTF-8 text".to_owned());
            imported.refused.push(RefusedLine { line, name, why });
            continue;
        };
        if text.trim().is_empty() || text.trim_start().starts_with('#') {
            continue;
        }
        let name = text.split(':').next().unwrap_or_default().to_owned();
        let user = match lines_of_names.get(&name) {
            Some(first) => Err(format!("this user is in line {first} already")),
            None => user(text, today),
        };
        match user {
            Ok(user) => {
                lines_of_names.insert(name, line);
                imported.users.push(user);
            }
            Err(why) => imported.refused.push(RefusedLine { line, name, why }),
        }
    }
    imported
}

fn user(line: &str, today: Days) -> Result<ImportedUser, String> {
    let fields: Vec<&str> = line.split(':').collect();
    let (name, hash) = match fields[..] {
        [name, hash] => (name, hash),
        // name:hash:uid:gid:comment:home:shell
        [name, hash, uid, gid, _, _, _] if is_number(uid) && is_number(gid) => (name, hash),
        // name:hash:changed:min:max:warn:inactive:expires:reserved
        [name, hash, changed, _, _, _, _, expires, ..]
            if fields.len() <= 9 && (changed.is_empty() || is_number(changed)) =>
        {
            if expires.parse().is_ok_and(|expires: Days| expires <= today) {
                return Err(format!("the account has expired (day {expires} since 1970)"));
            }
            (name, hash)
        }
        [_] => return Err("has no \":\"; a user is `name:hash`".to_owned()),
        [_, _, _] => return Err("is of htdigest, whose hashes only serve HTTP".to_owned()),
        _ => {
            let why = "is a line of no known file: neither `name:hash` (htpasswd), nor 7 fields with uid and \
                       gid (AuthUserFile, passwd), nor 9 (shadow)";
            return Err(why.to_owned());
        }
    };
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err("the user name is empty or has control characters".to_owned());
    }
    let home = (fields.len() == 7).then(|| fields[5].to_owned());
    Ok(ImportedUser { name: name.to_owned(), hash: parse(hash)?, home })
}

fn parse(hash: &str) -> Result<PasswordHash, String> {
    let advice = "make one with `lockgate hash-password`";
    match hash {
        "" => Err("has no password, so everyone could log in as this user".to_owned()),
        "x" => Err("the password is in another file; import that (/etc/shadow)".to_owned()),
        locked if locked.starts_with(['!', '*']) => {
            Err("the account is locked, or has no password".to_owned())
        }
        _ => PasswordHash::parse(hash).map_err(|error| format!("the password {error}; {advice}")),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
