//! Serves operators: the socket and the address, with what both need.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::control::Control;
use super::endpoint::AdminEndpoint;
use super::socket::AdminSocket;
use crate::task;

/// Serves until `stop`, or `address_stop`, on each of them that there is. Metrics need the samples of the rates too.
pub fn serve_operators(
    socket: Option<&Arc<AdminSocket>>,
    endpoint: Option<AdminEndpoint>,
    control: Arc<dyn Control>,
    (stop, address_stop): (&CancellationToken, &CancellationToken),
) {
    let live = control.lasting().live;
    task::spawn(stop.clone().run_until_cancelled_owned(live.clone().keep_rates()));
    if socket.is_none() && endpoint.is_none() {
        return;
    }
    live.keep_failures();
    let api = Api { control };
    if let Some(socket) = socket {
        socket.serve(api.clone(), stop.clone());
    }
    if let Some(endpoint) = endpoint {
        endpoint.serve(api, address_stop.clone());
    }
}
