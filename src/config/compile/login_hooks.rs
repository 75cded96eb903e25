//! Compiles `login_hooks`.

use std::collections::HashMap;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::backends::LoginMode;
use super::key_files::warn_if_exposed;
use super::{SECRET_MAX, check_name, entries, limits, text, unknown_name, value};
use crate::auth::hook::{Endpoint, Server, Settings, Token};
use crate::config::leaf::Leaf;
use crate::config::report::{Location, Problems};
use crate::config::schema::{File, LoginHook, Route};
use crate::config::values::{Authenticate, HookUrl, PathName};
use crate::net::tls::{ClientTls, SessionReuse, load_ca};
use crate::route::Account;

const TIMEOUT: Duration = Duration::from_secs(10);
const REQUESTS_AT_ONCE: usize = 32;
const CACHE_MAX: Duration = Duration::from_secs(5 * 60);

/// The settings of every hook that is valid.
pub(super) fn compile(file: &File, folder: &Path, problems: &mut Problems) -> Vec<Settings> {
    let login_timeout = limits(file).login_timeout;
    let hooks = entries(&file.login_hooks).iter().filter_map(|(name, hook)| {
        check_name(name, &hook.at, problems);
        warn_if_too_long(hook, login_timeout, problems);
        let token = token(hook, folder, problems);
        let endpoint = endpoint(hook, folder, problems)?;
        Some(Settings {
            name: name.clone(),
            endpoint,
            token: token?,
            timeout: value(&hook.timeout).map_or(TIMEOUT, |time| time.0),
            requests_at_once: value(&hook.requests_at_once)
                .map_or(REQUESTS_AT_ONCE, |n| n.0 as usize),
            cache_max: value(&hook.cache_max).copied().unwrap_or(CACHE_MAX),
        })
    });
    hooks.collect()
}

fn warn_if_too_long(hook: &LoginHook, login_timeout: Duration, problems: &mut Problems) {
    if let Some(leaf) = &hook.timeout
        && leaf.value.is_some_and(|time| time.0 >= login_timeout)
    {
        let login_timeout = humantime::format_duration(login_timeout);
        let message = format!(
            "has no effect: a login ends after {login_timeout} (limits.login_timeout), with its backend's \
             part"
        );
        problems.warning(&leaf.at, message);
    }
}

/// The token; `Some(None)` without one.
fn token(hook: &LoginHook, folder: &Path, problems: &mut Problems) -> Option<Option<Token>> {
    let Some(leaf) = &hook.token_file else { return Some(None) };
    let path = folder.join(&leaf.value.as_ref()?.0);
    let token = text(&path, SECRET_MAX).and_then(|text| {
        let text = Zeroizing::new(text);
        Token::new(text.trim_end()).map_err(|bad| format!("{}: {bad}", path.display()))
    });
    warn_if_exposed(&path, &leaf.at, problems);
    Some(Some(token.map_err(|reason| problems.error(&leaf.at, reason)).ok()?))
}

fn endpoint(hook: &LoginHook, folder: &Path, problems: &mut Problems) -> Option<Endpoint> {
    match (&hook.url, &hook.socket) {
        (None, None) => {
            let message = "is missing; or `socket`, for a program on this machine";
            problems.error(&hook.at.absent("url"), message);
            None
        }
        (Some(_), Some(leaf)) => {
            problems.error(&leaf.at, "`url` is set, too; keep one of them");
            None
        }
        (Some(leaf), None) => {
            without_effect(hook.path.as_ref(), "the path is part of `url`", problems);
            url(hook, leaf, folder, problems)
        }
        (None, Some(leaf)) => {
            let why = "a Unix socket has no TLS";
            without_effect(hook.ca.as_ref(), why, problems);
            without_effect(hook.danger_clear_text.as_ref(), why, problems);
            socket(hook, leaf, folder, problems)
        }
    }
}

fn url(
    hook: &LoginHook,
    leaf: &Leaf<HookUrl>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Endpoint> {
    let url = leaf.value.as_ref()?;
    let clear = hook.danger_clear_text.as_ref();
    let tls = if url.is_https {
        without_effect(clear, "the url is https", problems);
        Some(tls(hook, url, &leaf.at, folder, problems)?)
    } else {
        without_effect(hook.ca.as_ref(), "the url is http, without TLS", problems);
        if clear.and_then(|leaf| leaf.value) != Some(true) {
            let message = "is http: anyone between the gateway and the program could read passwords, and let \
                           anybody in; write https, or use `socket` on one machine (`danger_clear_text: true` \
                           allows it nevertheless)";
            problems.error(&leaf.at, message);
            return None;
        }
        None
    };
    let (address, authority) = (url.address.clone(), url.authority.clone());
    Some(Endpoint { server: Server::Tcp { address, authority, tls }, path: url.path.clone() })
}

fn tls(
    hook: &LoginHook,
    url: &HookUrl,
    at: &Location,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Arc<ClientTls>> {
    let roots = match &hook.ca {
        Some(leaf) => {
            let loaded = load_ca(&folder.join(&leaf.value.as_ref()?.0));
            Some(loaded.map_err(|e| problems.error(&leaf.at, e.to_string())).ok()?)
        }
        None => None,
    };
    let tls = ClientTls::new(&url.host, roots, true, SessionReuse::None);
    let tls = tls.map_err(|e| problems.error(at, e.to_string().replace("`tls.ca`", "`ca`")));
    tls.ok().map(Arc::new)
}

fn socket(
    hook: &LoginHook,
    leaf: &Leaf<PathName>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Endpoint> {
    let path = folder.join(&leaf.value.as_ref()?.0);
    // The program may start later.
    if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.file_type().is_socket()) {
        problems.error(&leaf.at, format!("{} exists and is not a socket", path.display()));
    }
    let request = match &hook.path {
        Some(leaf) => leaf.value.as_ref()?.0.clone(),
        None => "/".into(),
    };
    Some(Endpoint { server: Server::Socket(path), path: request })
}

fn without_effect<T>(leaf: Option<&Leaf<T>>, why: &str, problems: &mut Problems) {
    if let Some(leaf) = leaf {
        problems.error(&leaf.at, format!("has no effect: {why}"));
    }
}

/// The account of each backend, if a route needs it.
pub(super) fn accounts(
    file: &File,
    login_modes: &HashMap<String, LoginMode>,
) -> HashMap<String, Account> {
    if entries(&file.login_hooks).is_empty() {
        return HashMap::new();
    }
    let accounts = login_modes.iter().filter_map(|(name, mode)| {
        let account = mode.account()?;
        Some((name.clone(), account))
    });
    accounts.collect()
}

/// The hook of a route with `authenticate: http`: the one that it names, or the only one.
pub(super) fn of_route<'f>(
    file: &'f File,
    route: &Route,
    problems: &mut Problems,
) -> Option<&'f str> {
    let authenticate = route.authenticate.as_ref()?;
    if authenticate.value != Some(Authenticate::Http) {
        if let Some(leaf) = route.login_hook.as_ref().filter(|_| authenticate.value.is_some()) {
            problems.error(&leaf.at, "has no effect without `authenticate: http`");
        }
        return None;
    }
    let mut names = entries(&file.login_hooks).iter().map(|(name, _)| name.as_str());
    match &route.login_hook {
        Some(leaf) => {
            let wanted = &leaf.value.as_ref()?.0;
            let found = names.clone().find(|name| name == wanted);
            if found.is_none() {
                unknown_name("login hook", wanted, names, &leaf.at, problems);
            }
            found
        }
        None => match (names.next(), names.next()) {
            (Some(only), None) => Some(only),
            (None, _) => {
                let message = "there are no `login_hooks`: write one, with its `url` or `socket`";
                problems.error(&authenticate.at, message);
                None
            }
            (Some(_), Some(_)) => {
                let message = "is missing: there are several `login_hooks`; name one of them";
                problems.error(&route.at.absent("login_hook"), message);
                None
            }
        },
    }
}

/// Warns of hooks that no route has.
pub(super) fn warn_unused(file: &File, routes: &[Route], problems: &mut Problems) {
    let hooks = entries(&file.login_hooks);
    let is_used = |name: &str| {
        routes.iter().any(|route| {
            let is_http = value(&route.authenticate) == Some(&Authenticate::Http);
            is_http
                && match &route.login_hook {
                    Some(leaf) => leaf.value.as_ref().is_none_or(|wanted| wanted.0 == name),
                    None => hooks.len() == 1,
                }
        })
    };
    for (name, hook) in hooks.iter().filter(|(name, _)| !is_used(name)) {
        let message = format!(
            "no route has `authenticate: http` with this hook (login_hook: {name}): it is never asked"
        );
        problems.warning(&hook.at, message);
    }
}
