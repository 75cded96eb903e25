//! The paths of a session: a client's and a backend's, by the route's `root` and `rewrite`.

use std::cmp::Reverse;

use crate::op::{PathError, RemotePath};
use crate::policy::Names;

/// A folder that clients see under another path. Both paths are below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The client's path.
    pub from: RemotePath,
    /// The backend's path, below the root.
    pub to: RemotePath,
}

/// Translates paths between a client and its backend. Two paths of a client never lead to one path of the
/// backend, so that a policy rule for one cannot be evaded by the other. No path leads out of the root.
#[derive(Debug, Clone)]
pub struct PathMap {
    root: RemotePath,
    rewrites: Vec<Rewrite>,
    names: Names,
}

/// Why a client's path has no path at the backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The backend's path would be invalid.
    #[error(transparent)]
    Path(PathError),
    /// Clients see the folder or file under this path only; `None`: they do not see it.
    #[error("{}", hidden(.0.as_ref()))]
    Hidden(Option<RemotePath>),
}

fn hidden(shown: Option<&RemotePath>) -> String {
    match shown {
        Some(shown) => format!("the route's `rewrite` shows this as {shown} only"),
        None => "the route's `rewrite` hides this".to_owned(),
    }
}

/// How the listing of a folder differs from the backend's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Names of the backend's listing that are not shown.
    pub hidden: Vec<Vec<u8>>,
    /// Paths of rewritten folders, as the client sees them. They are shown if they exist.
    pub rewritten: Vec<RemotePath>,
    /// Names of folders that are shown even if the backend does not have them, as rewritten folders are below.
    pub parents: Vec<Vec<u8>>,
}

impl PathMap {
    /// `root`: the backend's folder that clients see as `/`. Of the rewrites that apply to a path, the one with
    /// the longest `from` does; of those with the same `to`, only the first has an effect. `names`: how the
    /// backend reads names.
    pub fn new(root: RemotePath, rewrites: Vec<Rewrite>, names: Names) -> Self {
        Self { root, rewrites, names }
    }

    /// Without rewrites.
    pub fn root_only(root: RemotePath) -> Self {
        Self::new(root, Vec::new(), Names::Exact)
    }

    /// How the backend reads names.
    pub fn names(&self) -> Names {
        self.names
    }

    /// Whether the root alone determines all paths.
    pub fn is_plain(&self) -> bool {
        self.rewrites.is_empty()
    }

    /// The backend's path for a client's.
    pub fn to_backend(&self, path: &RemotePath) -> Result<RemotePath, MapError> {
        self.below_root(path)?.below(&self.root).map_err(MapError::Path)
    }

    /// As the client sees a path of the backend; `None` if it does not see it.
    pub fn to_client(&self, path: &RemotePath) -> Option<RemotePath> {
        self.seen(&path.strip_root(&self.root)?)
    }

    /// Whether this path of the client is rewritten itself, not only below a folder that is.
    pub fn is_rewritten(&self, path: &RemotePath) -> bool {
        self.rewrites.iter().any(|it| self.is_same(&it.from, path))
    }

    /// Whether there is a rewritten folder below this path of the client: it is shown as a folder then, even
    /// if the backend does not have it.
    pub fn is_above_rewritten(&self, path: &RemotePath) -> bool {
        let rest = |from: &RemotePath| self.names.strip(from, path);
        let is_above = |from: &RemotePath| rest(from).is_some_and(|rest| !rest.is_root());
        self.rewrites.iter().any(|it| is_above(&it.from)) && self.below_root(path).is_ok()
    }

    /// Whether `rewrite` depends on the folder at this path of the client: it is rewritten, or has a rewritten
    /// folder, or what one leads to, in it.
    pub fn is_needed(&self, path: &RemotePath) -> bool {
        let there = self.below_root(path).ok();
        let holds = |folder: &RemotePath, it: &RemotePath| self.names.strip(it, folder).is_some();
        let holds_target = |to: &RemotePath| there.as_ref().is_some_and(|there| holds(there, to));
        self.rewrites.iter().any(|it| holds(path, &it.from) || holds_target(&it.to))
    }

    /// How the listing of a client's folder differs from the backend's.
    pub fn overlay(&self, folder: &RemotePath) -> Overlay {
        let mut overlay = Overlay::default();
        let Ok(there) = self.below_root(folder) else { return overlay };
        let child = |name: &[u8]| below(folder, name);
        let is_own = |name: &[u8]| {
            let seen = child(name).and_then(|path| self.below_root(&path).ok());
            seen.is_some() && seen == below(&there, name)
        };
        for Rewrite { from, to } in &self.rewrites {
            let is_in = |folder: &RemotePath, it: &RemotePath| {
                it.parent().is_some_and(|parent| self.is_same(&parent, folder))
            };
            let target = to.name().filter(|_| is_in(&there, to));
            let own = from.name().filter(|_| is_in(folder, from));
            for name in [target, own].into_iter().flatten() {
                if !is_own(name) && !overlay.hidden.iter().any(|hidden| hidden == name) {
                    overlay.hidden.push(name.to_vec());
                }
            }
            if own.is_some() {
                overlay.rewritten.extend(self.below_root(from).is_ok().then(|| from.clone()));
            } else if let Some(rest) = self.names.strip(from, folder)
                && let Some(name) = rest.components().next()
                && let Some(path) = child(name)
                && !self.is_rewritten(&path)
                && self.below_root(&path).is_ok()
                && !overlay.parents.iter().any(|parent| parent == name)
            {
                overlay.parents.push(name.to_vec());
            }
        }
        overlay
    }

    fn is_same(&self, one: &RemotePath, other: &RemotePath) -> bool {
        self.names.strip(one, other).is_some_and(|rest| rest.is_root())
    }

    /// The backend's path for a client's, without the root.
    fn below_root(&self, path: &RemotePath) -> Result<RemotePath, MapError> {
        let applied = self.longest(path, |it| &it.from);
        let there = match &applied {
            Some((index, rest)) => rest.below(&self.rewrites[*index].to).map_err(MapError::Path)?,
            None => path.clone(),
        };
        // Only the path that it is shown under leads there.
        if self.longest(&there, |it| &it.to).map(index) == applied.map(index) {
            Ok(there)
        } else {
            Err(MapError::Hidden(self.seen(&there)))
        }
    }

    fn seen(&self, there: &RemotePath) -> Option<RemotePath> {
        let leading = self.longest(there, |it| &it.to);
        let path = match &leading {
            Some((index, rest)) => rest.below(&self.rewrites[*index].from).ok()?,
            None => there.clone(),
        };
        let applied = self.longest(&path, |it| &it.from);
        (applied.map(index) == leading.map(index)).then_some(path)
    }

    /// The index of the rewrite with the longest prefix of `path`, and the rest of the path.
    fn longest(
        &self,
        path: &RemotePath,
        prefix: impl Fn(&Rewrite) -> &RemotePath,
    ) -> Option<(usize, RemotePath)> {
        let length = |it: &Rewrite| prefix(it).as_bytes().len();
        let all = self.rewrites.iter().enumerate();
        let rest = |it| self.names.strip(path, prefix(it));
        let applying = all.filter_map(|(index, it)| Some((index, it, rest(it)?)));
        let (index, _, rest) = applying.min_by_key(|(_, it, _)| Reverse(length(it)))?;
        Some((index, rest))
    }
}

fn index((index, _): (usize, RemotePath)) -> usize {
    index
}

fn below(folder: &RemotePath, name: &[u8]) -> Option<RemotePath> {
    RemotePath::resolve(folder, name).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::op::MAX_PATH;

    fn path(text: &str) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), text.as_bytes()).unwrap()
    }

    fn map(root: &str, rewrites: &[(&str, &str)]) -> PathMap {
        let rewrite = |(from, to): &(&str, &str)| Rewrite { from: path(from), to: path(to) };
        PathMap::new(path(root), rewrites.iter().map(rewrite).collect(), Names::Exact)
    }

    fn names(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[track_caller]
    fn leads(map: &PathMap, client: &str, backend: &str) {
        assert_eq!(map.to_backend(&path(client)), Ok(path(backend)), "{client}");
        assert_eq!(map.to_client(&path(backend)), Some(path(client)), "{backend}");
    }

    #[track_caller]
    fn hides(map: &PathMap, client: &str, shown: Option<&str>) {
        let expected = Err(MapError::Hidden(shown.map(path)));
        assert_eq!(map.to_backend(&path(client)), expected, "{client}");
    }

    #[test]
    fn a_prefix_of_whole_components_is_replaced_below_the_root() {
        let map = map("/srv", &[("/incoming", "/data/partners/in")]);
        leads(&map, "/incoming", "/srv/data/partners/in");
        leads(&map, "/incoming/a/b", "/srv/data/partners/in/a/b");
        leads(&map, "/incoming2", "/srv/incoming2");
        leads(&map, "/data/partners", "/srv/data/partners");
        leads(&map, "/data/partners/inner", "/srv/data/partners/inner");
        leads(&map, "/x/incoming", "/srv/x/incoming");
        leads(&map, "/", "/srv");
        // What is there has one name.
        hides(&map, "/data/partners/in", Some("/incoming"));
        hides(&map, "/data/partners/in/a", Some("/incoming/a"));
        // A folder of the backend behind the rewritten one, and what is outside of the root.
        for unseen in ["/srv/incoming", "/srv/incoming/a", "/data/partners/in", "/", "/srvx"] {
            assert_eq!(map.to_client(&path(unseen)), None, "{unseen}");
        }
    }

    #[test]
    fn the_longest_prefix_applies() {
        let map =
            map("/", &[("/in", "/data"), ("/in/urgent", "/fast"), ("/in/urgent/old", "/data/old")]);
        leads(&map, "/in/x", "/data/x");
        leads(&map, "/in/urgent/x", "/fast/x");
        leads(&map, "/in/urgent/old/x", "/data/old/x");
        hides(&map, "/in/old/x", Some("/in/urgent/old/x"));
        hides(&map, "/fast", Some("/in/urgent"));
        // Behind another rewritten folder.
        for unseen in ["/data/urgent", "/data/urgent/x", "/in", "/fast/old"] {
            assert_eq!(map.to_client(&path(unseen)), None, "{unseen}");
        }
    }

    #[test]
    fn folders_may_be_moved_down_swapped_and_shared() {
        let down = map("/", &[("/a", "/a/b")]);
        leads(&down, "/a", "/a/b");
        leads(&down, "/a/b/c", "/a/b/b/c");
        assert_eq!(down.to_client(&path("/a")), None);
        let swapped = map("/", &[("/a", "/b"), ("/b", "/a")]);
        leads(&swapped, "/a/x", "/b/x");
        leads(&swapped, "/b/x", "/a/x");
        let shared = map("/", &[("/a", "/c"), ("/b", "/c")]);
        leads(&shared, "/a/x", "/c/x");
        hides(&shared, "/b/x", Some("/a/x"));
    }

    /// Windows reads `/DATA./in` as the folder that clients see as `/incoming`.
    #[test]
    fn no_spelling_of_a_hidden_folder_leads_there() {
        let mut map = map("/srv", &[("/incoming", "/data/in")]);
        map.names = Names::Windows;
        leads(&map, "/incoming/x", "/srv/data/in/x");
        assert_eq!(map.to_backend(&path("/INCOMING/x")), Ok(path("/srv/data/in/x")));
        for hidden in ["/DATA/in/x", "/data./In /x", "/data/in/x"] {
            hides(&map, hidden, Some("/incoming/x"));
        }
        assert!(map.is_needed(&path("/Data")) && map.is_needed(&path("/Incoming")));
        assert!(!map.overlay(&path("/DATA")).hidden.is_empty());
    }

    #[test]
    fn a_path_may_become_too_long() {
        let map = map("/", &[("/a", "/a-longer-name")]);
        let long = path(&format!("/a/{}", "x".repeat(MAX_PATH - 4)));
        assert_eq!(map.to_backend(&long), Err(MapError::Path(PathError::TooLong)));
    }

    #[test]
    fn listings_show_rewritten_folders_instead_of_their_targets() {
        let map =
            map("/srv", &[("/in", "/data/in"), ("/old/path/out", "/data/out"), ("/old/x", "/y")]);
        let overlay = |folder: &str| map.overlay(&path(folder));
        let root = Overlay {
            hidden: names(&["in", "y"]),
            rewritten: vec![path("/in")],
            parents: names(&["old"]),
        };
        assert_eq!(overlay("/"), root);
        let data = Overlay { hidden: names(&["in", "out"]), ..Overlay::default() };
        assert_eq!(overlay("/data"), data);
        let old = Overlay {
            hidden: names(&["x"]),
            rewritten: vec![path("/old/x")],
            parents: names(&["path"]),
        };
        assert_eq!(overlay("/old"), old);
        for same in ["/in", "/in/data", "/else", "/data/in"] {
            assert_eq!(overlay(same), Overlay::default(), "{same}");
        }
        for (above, expected) in [
            ("/", true),
            ("/old", true),
            ("/old/path", true),
            ("/old/path/out", false),
            ("/ol", false),
        ] {
            assert_eq!(map.is_above_rewritten(&path(above)), expected, "{above}");
        }
        for (needed, expected) in [
            ("/", true),
            ("/in", true),
            ("/data", true),
            ("/old/path", true),
            ("/old/path/out", true),
            ("/in/x", false),
            ("/data/other", false),
            ("/old/path/out/x", false),
            ("/old/other", false),
        ] {
            assert_eq!(map.is_needed(&path(needed)), expected, "{needed}");
        }
    }

    fn any_path() -> impl Strategy<Value = RemotePath> {
        let name = prop::sample::select(&["a", "b", "c", "ab"][..]);
        prop::collection::vec(name, 0..5).prop_map(|names| path(&names.join("/")))
    }

    fn any_map() -> impl Strategy<Value = PathMap> {
        let folder = || any_path().prop_filter("not the root", |path| !path.is_root());
        let rewrite = (folder(), folder()).prop_map(|(from, to)| Rewrite { from, to });
        let rewrites =
            prop::collection::vec(rewrite, 0..5).prop_map(|mut rewrites: Vec<Rewrite>| {
                // `check` refuses two with the same `from`.
                let mut seen = Vec::new();
                rewrites.retain(|it| {
                    let is_first = !seen.contains(&it.from);
                    seen.push(it.from.clone());
                    is_first
                });
                rewrites
            });
        (any_path(), rewrites)
            .prop_map(|(root, rewrites)| PathMap::new(root, rewrites, Names::Exact))
    }

    proptest! {
        #[test]
        fn no_path_leads_out_of_the_root_and_none_leads_where_another_does(
            map in any_map(),
            one in any_path(),
            other in any_path(),
        ) {
            let Ok(there) = map.to_backend(&one) else { return Ok(()) };
            prop_assert!(there.strip_root(&map.root).is_some());
            prop_assert_eq!(map.to_client(&there), Some(one.clone()));
            prop_assert_eq!(map.to_backend(&other).ok() == Some(there), one == other);
        }

        #[test]
        fn what_a_client_sees_it_can_name(map in any_map(), there in any_path()) {
            if let Some(seen) = map.to_client(&there) {
                prop_assert_eq!(map.to_backend(&seen), Ok(there));
            }
        }

        /// A name of a listing leads to what the backend listed.
        #[test]
        fn a_listing_hides_the_names_that_lead_elsewhere(map in any_map(), folder in any_path()) {
            let Ok(there) = map.to_backend(&folder) else { return Ok(()) };
            let overlay = map.overlay(&folder);
            for name in ["a", "b", "c", "ab", "d"] {
                let leads = map.to_backend(&below(&folder, name.as_bytes()).unwrap()).ok();
                let is_hidden = overlay.hidden.contains(&name.as_bytes().to_vec());
                prop_assert_eq!(is_hidden, leads != below(&there, name.as_bytes()), "{}", name);
            }
        }
    }
}
