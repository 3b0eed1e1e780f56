//! Credentials from a JavaScript function in the page.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use js_sys::{Date, Function, Promise, Reflect};
use tokio::sync::{mpsc, oneshot};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use super::js::Thrown;
use crate::lifecycle::runtime::spawn_in_page;

/// Gets credentials from a JavaScript function in the page.
///
/// The function takes no arguments and returns, directly or as a promise, an object like those of
/// the AWS SDK for JavaScript: `accessKeyId`, `secretAccessKey` and, for temporary credentials,
/// `sessionToken` and `expiration` (a `Date`, or anything that `new Date` takes). It is called when
/// credentials are first needed, shortly before they expire, and after a service has refused them.
/// While it throws or rejects, records wait and use up no retries.
#[derive(Clone)]
pub struct PageCredentials {
    ask: mpsc::UnboundedSender<oneshot::Sender<provider::Result>>,
}

impl PageCredentials {
    /// A provider that calls this function.
    #[must_use]
    pub fn new(function: Function) -> Self {
        let (ask, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<_>>();
        // A function cannot leave its thread, so a task in the page owns it.
        spawn_in_page(async move {
            while let Some(mut reply) = asked.recv().await {
                let credentials = tokio::select! {
                    biased;
                    () = reply.closed() => continue,
                    credentials = call(&function) => credentials,
                };
                let _ = reply.send(credentials);
            }
        });
        Self { ask }
    }

    async fn credentials(&self) -> provider::Result {
        let gone = || CredentialsError::not_loaded("the page has dropped the function");
        let (reply, answer) = oneshot::channel();
        self.ask.send(reply).map_err(|_closed| gone())?;
        answer.await.map_err(|_dropped| gone())?
    }
}

impl ProvideCredentials for PageCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

impl fmt::Debug for PageCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageCredentials").finish_non_exhaustive()
    }
}

async fn call(function: &Function) -> provider::Result {
    let failed = |thrown: JsValue| CredentialsError::provider_error(Thrown::from(thrown));
    let returned = function.call0(&JsValue::UNDEFINED).map_err(failed)?;
    let given = JsFuture::from(Promise::resolve(&returned));
    read(&given.await.map_err(failed)?)
}

/// Parses the function's result. Errors never quote it.
fn read(given: &JsValue) -> provider::Result {
    let property = |name: &str| Reflect::get(given, &name.into()).unwrap_or(JsValue::UNDEFINED);
    let text = |name: &str| property(name).as_string().filter(|text| !text.is_empty());
    let missing = |name: &str| {
        CredentialsError::invalid_configuration(format!("the page gave no string for {name}"))
    };
    let id = text("accessKeyId").ok_or_else(|| missing("accessKeyId"))?;
    let secret = text("secretAccessKey").ok_or_else(|| missing("secretAccessKey"))?;
    let expiration = property("expiration");
    let expires_after = if expiration.is_undefined() || expiration.is_null() {
        None
    } else {
        let seconds = Date::new(&expiration).get_time() / 1000.0;
        let since = Duration::try_from_secs_f64(seconds).map_err(|_no_time| {
            CredentialsError::invalid_configuration("the page gave no valid date for expiration")
        })?;
        UNIX_EPOCH.checked_add(since)
    };
    let token = text("sessionToken");
    Ok(Credentials::new(id, secret, token, expires_after, "page"))
}
