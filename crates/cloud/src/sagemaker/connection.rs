//! Which connection a call went over, and whether that had been good before.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connection::CaptureSmithyConnection,
        http::SharedHttpClient,
        interceptors::{
            Intercept,
            context::{BeforeDeserializationInterceptorContextMut, FinalizerInterceptorContextRef},
            dyn_dispatch_hint,
        },
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use http_body_util::Limited;

use crate::endpoint::MAX_ANSWER_BYTES;

/// More addresses than an operating system gives out are not worth keeping.
const MOST_KEPT: usize = 4_096;

/// Remembers the connection of one call by its own end's address, and keeps the answer within [`MAX_ANSWER_BYTES`].
#[derive(Debug, Clone, Default)]
pub(super) struct UsedConnection(Arc<Mutex<Use>>);

#[derive(Debug, Clone, Copy, Default)]
struct Use {
    address: Option<SocketAddr>,
    answer_began: bool,
}

impl UsedConnection {
    fn state(&self) -> MutexGuard<'_, Use> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for UsedConnection {
    fn name(&self) -> &'static str {
        "UsedConnection"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.state().answer_began = true;
        let body = context.response_mut().body_mut();
        let whole = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(whole, MAX_ANSWER_BYTES));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        _: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let connection = config.load::<CaptureSmithyConnection>().and_then(CaptureSmithyConnection::get);
        let address = connection.and_then(|connection| connection.local_addr());
        self.state().address = address;
        Ok(())
    }
}

/// The connections that have carried an answer.
#[derive(Debug, Default)]
pub(super) struct UsedConnections(Mutex<HashSet<SocketAddr>>);

impl UsedConnections {
    fn addresses(&self) -> MutexGuard<'_, HashSet<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call over `connection` was answered.
    pub(super) fn answered(&self, connection: &UsedConnection) {
        let mut addresses = self.addresses();
        if addresses.len() >= MOST_KEPT {
            addresses.clear();
        }
        addresses.extend(connection.state().address);
    }

    /// Whether `connection`, which broke, had carried an answer before, and none of this call's. It is forgotten: its address
    /// may come again.
    pub(super) fn died_in_the_pool(&self, connection: &UsedConnection) -> bool {
        let Use { address, answer_began } = *connection.state();
        let had_answered = address.is_some_and(|address| self.addresses().remove(&address));
        had_answered && !answer_began
    }
}

/// A client whose every call opens a connection.
pub(super) fn unpooled_http_client() -> SharedHttpClient {
    Builder::new().pool_max_idle_per_host(0).tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https()
}
