"""Trains one configuration. Read from the top: ``run_trial``, then what it calls, in order.

What the trial holds is opened in ``session``; what one step does stands in ``learner``. A method
that leaves the backbone as it is goes its own, shorter way: ``probe``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator

import torch

from raybench.records import EndRecord, EpochRecord, Record
from raybench.seeding import derive_seed
from raybench.trial import files
from raybench.trial.augment import augment
from raybench.trial.batches import epoch_batches
from raybench.trial.checkpoint import BEST_NAME
from raybench.trial.config import TrialConfig
from raybench.trial.device import free_memory, peak_memory, reset_peak_memory
from raybench.trial.evaluate import ShouldStop, evaluate, evaluate_oracle
from raybench.trial.failures import DrainRequested, end_of_failure
from raybench.trial.meter import Meter
from raybench.trial.mirror import own_scratch
from raybench.trial.predict import (
    PREDICTIONS_NAME,
    discard_results,
    read_end,
    write_end,
    write_test_predictions,
)
from raybench.trial.probe import run_probe
from raybench.trial.randomness import restore_rng_states, seed_all
from raybench.trial.recipe import set_learning_rate
from raybench.trial.schedule import learning_rate, stage_lengths
from raybench.trial.session import Session, checkpoints_of, open_session

CHECKPOINT_EVERY_S = 2.0
_log = logging.getLogger(__name__)


def run_trial(
    config: TrialConfig, should_stop: ShouldStop = lambda: False
) -> Generator[Record, None, None]:
    """Trains one configuration and yields its records.

    First come the records of epochs that a checkpoint has and the ledger lacks
    (``config.known_epochs``), then one per epoch, each after its checkpoint, then one EndRecord:
    complete, failed (with class and reason; nothing is raised) or interrupted.

    Args:
        config: everything the trial depends on.
        should_stop: asked before every batch, also of validation and test; when it says yes, the
            trial writes a checkpoint and ends as interrupted.
    """
    threads_before = torch.get_num_threads()
    try:
        with own_scratch(config) as own:
            end = yield from _run(own, should_stop)
    except DrainRequested:
        end = EndRecord(state="interrupted", finished_at=time.time())
    except Exception as error:  # noqa: BLE001 - how a trial ends is data, whatever it was
        _log.debug("trial %s failed", config.key, exc_info=True)
        end = end_of_failure(error)
    finally:
        torch.set_num_threads(threads_before)
        free_memory()
    yield end


def _run(config: TrialConfig, should_stop: ShouldStop) -> Generator[EpochRecord, None, EndRecord]:
    checkpoints = checkpoints_of(config)
    if checkpoints.mirror is not None:
        checkpoints.mirror.fetch_results()
    finished = read_end(config, checkpoints.lives().values())
    if finished is not None:
        history, end = finished
        yield from (record for record in history if record.epoch > config.known_epochs)
        return end
    discard_results(config.own_folder)
    if checkpoints.mirror is not None:
        checkpoints.mirror.discard_results()
    if config.recipe.get("method", "finetune") != "finetune":
        return (yield from run_probe(config, should_stop))
    session = open_session(config)
    held = [r for r in session.progress.history if r.epoch > config.known_epochs]
    try:
        yield from _fit(session, held, should_stop)
        end = _finish(session, should_stop)
    except DrainRequested:
        session.save()
        yield from held
        raise
    except Exception:
        yield from held
        raise
    yield from held
    return end


def _fit(
    session: Session, held: list[EpochRecord], should_stop: ShouldStop
) -> Iterator[EpochRecord]:
    """All epochs that are still owed; ``held`` are records that no checkpoint stands behind yet.

    A checkpoint per epoch would cost short epochs more than their training.
    """
    config, progress = session.config, session.progress
    yield from _told(held)
    saved_at = time.monotonic()
    while _next_stage(session):
        _train_epoch(session, should_stop)
        record = _validate_epoch(session, should_stop)
        progress.finish_epoch(record, config.metric, session.refit)
        session.keep_best()
        if record.epoch > config.known_epochs:
            held.append(record)
        pause_s = max(CHECKPOINT_EVERY_S, session.checkpoints.pause_s)
        if config.prompt or time.monotonic() - saved_at >= pause_s:
            session.save()
            session.checkpoints.prune()
            saved_at = time.monotonic()
            yield from _told(held)


def _told(held: list[EpochRecord]) -> Iterator[EpochRecord]:
    """Each record once, also where the reader stops in the middle."""
    while held:
        yield held.pop(0)


def _next_stage(session: Session) -> bool:
    """Moves on from stages that are over; False when nothing is left to train."""
    recipe, progress = session.recipe, session.progress
    if session.refit and progress.epoch >= (session.config.refit_epochs or 0):
        return False
    lengths = stage_lengths(recipe)
    while progress.stage_is_over(lengths[progress.stage], recipe.patience):
        if progress.stage + 1 == len(lengths):
            return False
        progress.next_stage()
        if progress.best_epoch is not None:
            session.learner.load_weights(session.best)
        session.learner.start_stage(recipe.stages[progress.stage])
    return True


def _train_epoch(session: Session, should_stop: ShouldStop) -> None:
    """The epoch's batches that are not done yet."""
    progress, learner, loader = session.progress, session.learner, session.loader
    seed, epoch = session.config.training_seed, progress.epoch + 1
    batches = epoch_batches(session.train, session.recipe.batch_size, seed, epoch)
    if progress.batch == 0:
        seed_all(seed, "epoch", epoch)
        reset_peak_memory(loader.device)
    elif session.rng is not None:
        restore_rng_states(session.rng, loader.device)
        session.rng = None
    learner.model.train()
    meter = Meter(progress, loader.device)
    for number in range(progress.batch, len(batches)):
        if should_stop():
            meter.book()
            raise DrainRequested
        pixels, labels = loader.fetch(batches[number], derive_seed(seed, "crop", epoch, number))
        pixels = augment(
            pixels, session.recipe.augment, derive_seed(seed, "augment", epoch, number)
        )
        lr = _learning_rate(session, number, len(batches))
        images = loader.normalise(pixels)
        loss, logits = learner.step(images, labels, lr, progress.steps + 1)
        progress.batch, progress.steps = number + 1, progress.steps + 1
        meter.add(loss, logits, labels)
    meter.book()


def _learning_rate(session: Session, batch: int, batches: int) -> float:
    progress, recipe = session.progress, session.recipe
    step = progress.stage_epoch * batches + batch
    length = stage_lengths(recipe)[progress.stage]
    return learning_rate(recipe.stages[progress.stage], recipe.lr, step, batches, length)


def _validate_epoch(session: Session, should_stop: ShouldStop) -> EpochRecord:
    """The finished epoch's record. The last training step's learning rate goes into it."""
    progress, config = session.progress, session.config
    epoch = progress.epoch + 1
    metrics = {
        "train/loss": progress.loss_sum / progress.seen,
        "train/accuracy": progress.correct / progress.seen,
        "perf/images_per_s": progress.seen / progress.train_s,
        "perf/train_s": progress.train_s,
    }
    if not session.refit:
        seed_all(config.training_seed, "validation", epoch)
        metrics |= evaluate(session, session.task.val, "val", should_stop)[0]
        metrics["perf/val_s"] = progress.val_s
    metrics |= peak_memory(session.loader.device)
    if config.oracle:
        evaluate_oracle(session, should_stop)
    lr = _learning_rate(session, progress.batch - 1, progress.batch)
    return EpochRecord(
        epoch=epoch,
        stage=progress.stage,
        lr=set_learning_rate(session.learner.optimizer, lr),
        finished_at=time.time(),
        duration_s=progress.train_s + progress.val_s,
        device_share=config.device_share,
        attempt=config.attempt,
        metrics=metrics,
    )


def _finish(session: Session, should_stop: ShouldStop) -> EndRecord:
    """Keeps the best weights and reads the test split once, if asked."""
    config, progress = session.config, session.progress
    assert progress.best_epoch is not None, "at least one epoch was trained"
    weights_sha256 = predictions_sha256 = None
    if config.keep_weights:
        chunks = files.safetensors_chunks(session.best)
        weights_sha256 = files.replace_file(config.own_folder / BEST_NAME, chunks)
    test: dict[str, float] = {}
    if config.read_test:
        session.learner.load_weights(session.best)
        seed_all(config.training_seed, "test")
        test, logits, labels = evaluate(session, session.task.test, "test", should_stop)
        predictions_sha256 = write_test_predictions(
            config.own_folder, config.key, session.task, logits, labels
        )
    end = EndRecord(
        state="complete",
        finished_at=time.time(),
        best_epoch=progress.best_epoch,
        best=progress.best_metrics(),
        test=test,
        oracle=progress.oracle,
        weights_path=f"{config.own_dir}/{BEST_NAME}" if weights_sha256 else None,
        weights_sha256=weights_sha256,
        predictions_path=f"{config.own_dir}/{PREDICTIONS_NAME}" if predictions_sha256 else None,
        predictions_sha256=predictions_sha256,
        facts=session.facts,
    )
    write_end(config, progress.history, end)
    if session.checkpoints.mirror is not None:
        session.checkpoints.mirror.send_results()
    return end
