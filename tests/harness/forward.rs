//! Stores that change single operations of another store.

use std::fmt::Debug;

use async_trait::async_trait;
use tara_export_limits::Pools;
use tara_export_store::{
    LinkObjects, ListRequest, Listing, Object, ObjectInfo, ObjectKey, PartStore, Payload,
    ProbeResult, PutOutcome, Store, StoreError, StoreKind, StreamedPayload,
};

/// The operations that a store changes. [`Forwarding`] forwards all others.
#[async_trait]
pub(crate) trait Changes: Debug + Send + Sync {
    fn inner(&self) -> &dyn Store;

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.inner().put_if_absent(key, payload).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        self.inner().get(key).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.inner().delete(key).await
    }
}

/// The inner store with these changes.
#[derive(Debug)]
pub(crate) struct Forwarding<T>(pub(crate) T);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Changes> Store for Forwarding<T> {
    fn kind(&self) -> StoreKind {
        self.0.inner().kind()
    }

    fn location(&self, key: &str) -> String {
        self.0.inner().location(key)
    }

    fn site(&self) -> String {
        self.0.inner().site()
    }

    async fn has_default_retention(&self) -> Result<bool, StoreError> {
        self.0.inner().has_default_retention().await
    }

    async fn check_put(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.0.inner().check_put(key).await
    }

    async fn move_old_files(&self) -> Result<u64, StoreError> {
        self.0.inner().move_old_files().await
    }

    fn reload_credentials(&self) {
        self.0.inner().reload_credentials();
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.0.put_if_absent(key, payload).await
    }

    async fn put_stream_if_absent(
        &self,
        key: &ObjectKey,
        payload: StreamedPayload,
    ) -> Result<PutOutcome, StoreError> {
        self.0.inner().put_stream_if_absent(key, payload).await
    }

    fn parts(&self) -> Option<&dyn PartStore> {
        self.0.inner().parts()
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        self.0.inner().head(key).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        self.0.get(key).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError> {
        self.0.inner().list(request).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.0.delete(key).await
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        self.0.inner().probe().await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.0.inner().check_writable().await
    }

    fn pools(&self) -> Pools {
        self.0.inner().pools()
    }

    fn links(&self) -> Option<&dyn LinkObjects> {
        self.0.inner().links()
    }
}
