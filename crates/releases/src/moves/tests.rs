use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use cloud::{
    memory::MemoryStore,
    object_store::{ETag, GetOutcome, ListedObject, StoreError},
};
use proptest::prelude::*;

use super::*;
use crate::{
    checks::ServableRelease,
    list, rollback_target,
    samples::{model, release},
};

fn servable(number: u32) -> ServableRelease {
    ServableRelease::unchecked(release(number))
}

fn at(second: i64) -> MoveOrder {
    MoveOrder { author: None, reason: None, now: Timestamp::from_second(second).unwrap(), expect: None }
}

async fn published<S: GetObject>(store: &S) -> ReleaseId {
    in_force(store, &model()).await.unwrap().unwrap().pointer.release_id
}

#[tokio::test]
async fn the_pointer_follows_and_the_list_tells_when_each_was_in_force() {
    let store = MemoryStore::new();
    let signed = MoveOrder { author: Some("mai".into()), reason: Some("deeper trees".into()), ..at(20) };
    publish(&store, &servable(1), &at(10)).await.unwrap();
    let moved = publish(&store, &servable(2), &signed).await.unwrap();
    assert_eq!(moved.pointer.previous.as_ref(), Some(servable(1).id()));
    let again = publish(&store, &servable(2), &at(30)).await.unwrap();
    assert!(!again.changed && again.pointer == moved.pointer, "it is in force already");

    let why = MoveOrder { reason: Some("late answers".into()), ..at(40) };
    let target = rollback_target(&store, &model()).await.unwrap();
    assert_eq!(target, *servable(1).id());
    rollback(&store, &servable(1), &why).await.unwrap();
    let told: Vec<_> = list(&store, &model())
        .await
        .unwrap()
        .into_iter()
        .map(|listed| {
            let times = listed.in_force.iter();
            let times = times.map(|time| (time.since.as_second(), time.until.map(Timestamp::as_second), time.how));
            (listed.id, times.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        told,
        [
            (servable(1).id().clone(), vec![(10, Some(20), PointerMove::Publish), (40, None, PointerMove::Rollback)]),
            (servable(2).id().clone(), vec![(20, Some(40), PointerMove::Publish)]),
        ]
    );
    let moves = history(&store, &model()).await.unwrap();
    assert_eq!((moves[1].author.as_deref(), moves[2].reason.as_deref()), (Some("mai"), Some("late answers")));
}

#[tokio::test]
async fn going_back_twice_does_not_return_to_where_one_came_from() {
    let store = MemoryStore::new();
    for number in 1..=3 {
        publish(&store, &servable(number), &at(i64::from(number))).await.unwrap();
    }
    for expected in [2, 1] {
        assert_eq!(rollback_target(&store, &model()).await.unwrap(), *servable(expected).id());
        rollback(&store, &servable(expected), &at(10)).await.unwrap();
    }
    assert_eq!(rollback_target(&store, &model()).await.unwrap_err().reason(), "no_previous_release");
    assert_eq!(published(&store).await, *servable(1).id());
}

#[tokio::test]
async fn what_is_not_expected_is_not_moved() {
    let store = MemoryStore::new();
    let expecting = |number: u32| MoveOrder { expect: Some(servable(number).id().clone()), ..at(50) };
    let refused = publish(&store, &servable(1), &expecting(1)).await.unwrap_err();
    assert_eq!(refused.reason(), "another_release_in_force");
    assert!(store.keys().is_empty());
    publish(&store, &servable(1), &at(10)).await.unwrap();
    publish(&store, &servable(2), &expecting(1)).await.unwrap();
    assert!(publish(&store, &servable(3), &expecting(1)).await.is_err());
    assert_eq!(published(&store).await, *servable(2).id());
    assert_eq!(rollback(&MemoryStore::new(), &servable(1), &at(1)).await.unwrap_err().reason(), "no_release");
}

#[tokio::test]
async fn another_content_under_the_same_address_is_told() {
    let store = MemoryStore::new();
    let key = lake::release(&model(), servable(1).id());
    store.put_object(&key, "{}".into(), PutCondition::Always).await.unwrap();
    assert_eq!(publish(&store, &servable(1), &at(10)).await.unwrap_err().reason(), "release_unusable");
    assert_eq!(store.keys(), [key]);
}

/// A store in which something happens right before the pointer is put.
struct Meddled {
    inner: MemoryStore,
    before_pointer: Mutex<Option<ReleasePointer>>,
    loses_answer: AtomicBool,
    loses_history: bool,
}

impl Meddled {
    fn new(inner: MemoryStore) -> Self {
        Self { inner, before_pointer: Mutex::default(), loses_answer: false.into(), loses_history: false }
    }
}

#[async_trait]
impl GetObject for Meddled {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        self.inner.get_object(key, if_none_match).await
    }
}

#[async_trait]
impl ListObjects for Meddled {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        self.inner.list_objects(prefix).await
    }
}

#[async_trait]
impl PutObject for Meddled {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        if self.loses_history && key.starts_with(&lake::release_history_prefix(&model())) {
            return Err(StoreError::Unavailable { verb: "put", key: key.to_owned(), detail: "as asked".to_owned() });
        }
        if key == lake::release_pointer(&model()) {
            let other = self.before_pointer.lock().unwrap().take();
            if let Some(other) = other {
                self.inner.put_object(key, bytes_of(&other), PutCondition::Always).await?;
            }
            if self.loses_answer.swap(false, Ordering::Relaxed) {
                self.inner.put_object(key, bytes.clone(), condition.clone()).await?;
            }
        }
        self.inner.put_object(key, bytes, condition).await
    }
}

#[tokio::test]
async fn of_two_movers_at_the_same_moment_one_is_told() {
    let store = Meddled::new(MemoryStore::new());
    publish(&store, &servable(1), &at(10)).await.unwrap();
    let other = ReleasePointer::new(servable(2).id().clone(), None, at(11).now);
    *store.before_pointer.lock().unwrap() = Some(other);
    let refused = publish(&store, &servable(3), &at(12)).await.unwrap_err();
    assert_eq!(refused.reason(), "release_moved_meanwhile");
    assert_eq!(published(&store).await, *servable(2).id());
    let told = history(&store, &model()).await.unwrap();
    assert!(told.iter().all(|moved| moved.release_id != *servable(3).id()), "what did not happen is not told");
}

#[tokio::test]
async fn a_put_that_is_sent_twice_meets_itself() {
    let store = Meddled::new(MemoryStore::new());
    publish(&store, &servable(1), &at(10)).await.unwrap();
    store.loses_answer.store(true, Ordering::Relaxed);
    assert!(publish(&store, &servable(2), &at(20)).await.unwrap().changed);
    assert_eq!(history(&store, &model()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_move_that_could_not_be_kept_is_kept_by_the_next() {
    let inner = MemoryStore::new();
    let store = Meddled { loses_history: true, ..Meddled::new(inner.clone()) };
    let signed = MoveOrder { author: Some("mai".into()), ..at(10) };
    publish(&store, &servable(1), &signed).await.unwrap();
    assert_eq!(inner.list_objects(&lake::release_history_prefix(&model())).await.unwrap().len(), 0);
    assert_eq!(history(&inner, &model()).await.unwrap().len(), 1, "the pointer tells it");
    publish(&inner, &servable(2), &at(20)).await.unwrap();
    let told = history(&inner, &model()).await.unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].author.as_deref(), Some("mai"));
}

proptest! {
    /// Whatever is published and gone back to, with clocks that go forwards and backwards: the history has every move once and
    /// in order, the times in force follow each other without a gap, and the last is that of the pointer.
    #[test]
    fn the_history_has_every_move(moves in prop::collection::vec((1_u32..5, any::<bool>(), 0_i64..100), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = MemoryStore::new();
            let mut expected: Vec<ReleaseId> = Vec::new();
            for (number, is_rollback, second) in moves {
                let (release, order) = (servable(number), at(second));
                let was = expected.last().cloned();
                let moved = if is_rollback && was.is_some() {
                    rollback(&store, &release, &order).await.unwrap()
                } else {
                    publish(&store, &release, &order).await.unwrap()
                };
                assert_eq!(moved.changed, was.as_ref() != Some(release.id()));
                assert_ne!(moved.pointer.previous.as_ref(), Some(release.id()));
                if moved.changed {
                    expected.push(release.id().clone());
                }
            }
            let told = history(&store, &model()).await.unwrap();
            assert_eq!(stack_of(&told).last(), expected.last());
            let ids: Vec<ReleaseId> = told.iter().map(|moved| moved.release_id.clone()).collect();
            assert_eq!(ids, expected);
            assert!(told.is_sorted_by(|one, other| one.moved_at < other.moved_at));
            let listed = list(&store, &model()).await.unwrap();
            assert_eq!(listed.iter().filter(|listed| listed.is_in_force()).count(), 1);
            assert_eq!(listed[0].id, published(&store).await);
            let mut times: Vec<_> = listed.iter().flat_map(|listed| &listed.in_force).collect();
            times.sort_by_key(|time| time.since);
            assert!(times.windows(2).all(|pair| pair[0].until == Some(pair[1].since)));
            // Going back and back again comes to an end.
            let mut steps = 0;
            while let Ok(target) = rollback_target(&store, &model()).await {
                let release = (1..5).map(servable).find(|release| *release.id() == target).unwrap();
                rollback(&store, &release, &at(100)).await.unwrap();
                steps += 1;
                assert!(steps < expected.len());
            }
        });
    }
}
