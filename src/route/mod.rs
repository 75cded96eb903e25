//! Routing: the backend and root of a session, chosen at login.

mod anonymous;
mod choice;
mod minted;
mod path_map;
mod rewrite;
mod root;
mod root_text;
mod table;
mod target;

pub use anonymous::is_anonymous;
pub use choice::{Choice, Chosen, LoginRequest};
pub use minted::{AccountName, AccountNameError, MintedAccount, MintedAccountError};
pub use path_map::{MapError, Overlay, PathMap, Rewrite};
pub use rewrite::{FolderSetting, RewriteSetting};
pub use root::{Root, RootSetting, USER_PLACEHOLDER, UserFolder, UserFolderError};
pub use root_text::RootTextError;
pub use table::{
    Access, Account, Authenticator, Backends, Match, Mismatch, Route, RouteBackend, RouteTable,
};
pub use target::Target;
