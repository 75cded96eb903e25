use std::path::Path;

use zeroize::Zeroizing;

use super::value;
use crate::backend::Credentials;
use crate::config::report::Problems;
use crate::config::schema::Account;

/// The account of a mapped login, its password read.
pub(super) fn credentials(
    account: &Account,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Credentials> {
    let password = match (&account.password_file, &account.password_env) {
        (Some(_), Some(env)) => {
            problems.error(&env.at, "`password_file` is there too; one of them is enough");
            None
        }
        (Some(file), None) => {
            let path = folder.join(&file.value.as_ref()?.0);
            from_file(&path).map_err(|why| problems.error(&file.at, why)).ok()
        }
        (None, Some(env)) => {
            let name = &env.value.as_ref()?.0;
            from_environment(name).map_err(|why| problems.error(&env.at, why)).ok()
        }
        (None, None) => {
            problems.error(&account.at, "needs `password_file` or `password_env`");
            None
        }
    };
    let user = value(&account.user)?.0.clone().into_bytes();
    Some(Credentials { user, password: password?, account: None, key: None })
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let shown = path.display();
    let read = std::fs::read(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    let mut password = Zeroizing::new(read);
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    sendable(password, &format!("{shown}"))
}

fn from_environment(name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    use std::os::unix::ffi::OsStringExt;
    match std::env::var_os(name) {
        Some(password) => {
            sendable(Zeroizing::new(password.into_vec()), &format!("the variable {name}"))
        }
        None => Err(format!("the environment has no variable {name}")),
    }
}

fn sendable(password: Zeroizing<Vec<u8>>, what: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    if password.is_empty() {
        return Err(format!("{what} holds no password: it is empty"));
    }
    if password.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(format!("{what} must hold one line: the password and nothing else"));
    }
    Ok(password)
}
