//! Fetches new credentials after the service has refused the current ones.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::identity::{
    IdentityFuture, ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;

/// A credentials cache that can be emptied.
///
/// Starts as the cache that the SDK client would use, which holds on to credentials for up to 15
/// minutes. When the service refuses them, a cache of our own replaces it.
#[derive(Clone)]
pub(crate) struct RenewableCredentials(Arc<RwLock<Current>>);

struct Current {
    cache: SharedIdentityCache,
    /// How often the cache was replaced.
    renewals: u64,
}

/// Identifies the credentials that a request may have been signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edition(u64);

impl RenewableCredentials {
    pub(crate) fn new(given: Option<SharedIdentityCache>) -> Self {
        Self(Arc::new(RwLock::new(Current {
            cache: given.unwrap_or_else(|| IdentityCache::lazy().build()),
            renewals: 0,
        })))
    }

    pub(crate) fn edition(&self) -> Edition {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Edition(current.renewals)
    }

    /// Forgets the credentials of this edition, so that the next request asks the provider. If
    /// several requests are refused at once, they are forgotten once.
    pub(crate) fn forget(&self, refused: Edition) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if current.renewals == refused.0 {
            current.cache = IdentityCache::lazy().build();
            current.renewals += 1;
        }
    }

    fn cache(&self) -> SharedIdentityCache {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.cache.clone()
    }
}

impl ResolveCachedIdentity for RenewableCredentials {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let cache = self.cache();
        IdentityFuture::new(async move {
            cache
                .resolve_cached_identity(resolver, components, config)
                .await
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.cache().validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.cache().validate_final_config(components, config)
    }
}

// A derived `Debug` could show the contents of the cache.
impl fmt::Debug for RenewableCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RenewableCredentials")
            .field(&self.edition())
            .finish()
    }
}
