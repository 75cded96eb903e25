//! Where a login leads: the backend, the account there, and the folders. A route says it, or a login hook's
//! answer.

use super::{Gateway, refused};
use crate::op::Failure;
use crate::policy::limits::Limit;
use crate::route::{
    Access, Account, Choice, Rewrite, Root, RootSetting, USER_PLACEHOLDER, UserFolderError,
};

/// Where a login leads, and as which user.
pub(super) struct Destination {
    /// The name for policy and limits, and for a backend that gets the client's.
    pub(super) user: Vec<u8>,
    /// The backend's name in the configuration.
    pub(super) backend: String,
    /// What the backend gets.
    pub(super) account: Account,
    /// The account is this user's, not one that all users of the backend share.
    pub(super) is_own_account: bool,
    pub(super) root: Root,
    pub(super) rewrites: Vec<Rewrite>,
    /// Besides `policy.limits`.
    pub(super) limit: Option<Limit>,
}

/// A key of a route with `{user}`, its value, and why the user's name cannot stand there.
pub(super) type NoFolder = (String, String, UserFolderError);

impl Destination {
    /// As the route says.
    pub(super) fn of(choice: &Choice<'_>) -> Result<Self, Failure> {
        let (root, rewrites) = Gateway::paths(choice)?;
        let account = match &choice.backend.access {
            Access::Backend => Account::PassThrough,
            Access::Gateway { account, .. } => account.clone(),
        };
        Ok(Self {
            user: choice.user.clone(),
            backend: choice.backend.name.clone(),
            account,
            is_own_account: false,
            root,
            rewrites,
            limit: None,
        })
    }
}

impl Gateway {
    /// The root of a user's session, and the paths that differ below it, as the route says.
    pub(in crate::session) fn paths(choice: &Choice) -> Result<(Root, Vec<Rewrite>), Failure> {
        Self::folders(choice, &choice.route.root, &choice.user)
            .map_err(|error| no_folder(choice, error))
    }

    /// As [`Gateway::paths`], with this root and for this user.
    pub(super) fn folders(
        choice: &Choice,
        root: &RootSetting,
        user: &[u8],
    ) -> Result<(Root, Vec<Rewrite>), NoFolder> {
        let folder = root.of(user).map_err(|why| ("root".to_owned(), root.to_string(), why))?;
        let rewrites = choice.route.rewrites.iter().enumerate().map(|(index, rewrite)| {
            let key = || format!("rewrite[{index}].to");
            rewrite.of(user).map_err(|why| (key(), rewrite.to.to_string(), why))
        });
        Ok((folder, rewrites.collect::<Result<_, _>>()?))
    }
}

/// The refusal of a client whose name cannot replace `{user}`.
pub(super) fn no_folder(choice: &Choice, (key, setting, why): NoFolder) -> Failure {
    let number = choice.number;
    refused(&format!(
        "the user's name cannot replace `{USER_PLACEHOLDER}` in routes[{number}].{key} ({setting}): it {why}; if \
         the user is genuine, add a route for this name before that one",
    ))
}
