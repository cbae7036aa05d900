-- SPDX-License-Identifier: GPL-3.0-or-later
-- The store's schema, version 2 (PRAGMA user_version). Whoever changes it adds a file to migrations/ that
-- makes the version before into this one. Times are ns of CLOCK_REALTIME unless said otherwise; 64-bit
-- unsigned numbers (seed, lease) are stored as the signed number with the same bits.

-- One submission of a plan.
CREATE TABLE campaign (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of submission: campaigns run in it
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    plan BLOB NOT NULL,                       -- proto Plan, its text included
    state TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    submitted_ns INTEGER NOT NULL,
    ended_ns INTEGER NOT NULL DEFAULT 0,
    keep_failed INTEGER NOT NULL,
    scheduled INTEGER NOT NULL DEFAULT 0,
    seed INTEGER NOT NULL DEFAULT 0,
    unavailable INTEGER NOT NULL DEFAULT 0    -- cells x hosts, known once scheduled
) STRICT;

-- A host as it was when the campaign was prepared.
CREATE TABLE host (
    campaign TEXT NOT NULL,
    name TEXT NOT NULL,
    identity TEXT NOT NULL,                   -- digest of the facts that must match
    software TEXT NOT NULL,
    fingerprint BLOB NOT NULL,                -- proto Fingerprint
    prepared BLOB NOT NULL,                   -- proto Prepared
    PRIMARY KEY (campaign, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE trial (
    campaign TEXT NOT NULL,
    trial INTEGER NOT NULL,
    cell INTEGER NOT NULL,
    repetition INTEGER NOT NULL,
    warmup INTEGER NOT NULL,
    host TEXT NOT NULL,
    position INTEGER NOT NULL,
    lease INTEGER,                            -- the current one; NULL while nobody holds the trial
    accepted INTEGER NOT NULL DEFAULT 0,
    answered INTEGER NOT NULL DEFAULT 0,      -- attempts that ended with a result, since the last resume
    lost INTEGER NOT NULL DEFAULT 0,          -- attempts that ended without one, since the last resume
    given_up INTEGER NOT NULL DEFAULT 0,
    last_reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (campaign, trial)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    campaign TEXT NOT NULL,
    trial INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    host TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    ended_ns INTEGER NOT NULL DEFAULT 0,
    lost TEXT NOT NULL DEFAULT '',            -- why it ended without a result
    PRIMARY KEY (campaign, trial, attempt)
) STRICT, WITHOUT ROWID;

-- Whatever an agent has sent, also for trials this store does not know.
CREATE TABLE result (
    number INTEGER PRIMARY KEY,
    agent TEXT NOT NULL,                      -- public key
    spool TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    campaign TEXT NOT NULL,
    trial INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    host TEXT NOT NULL,
    outcome INTEGER NOT NULL,
    reason TEXT NOT NULL,
    warmup INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    superseded INTEGER NOT NULL,
    stored_ns INTEGER NOT NULL,
    conditions BLOB NOT NULL,                 -- proto Result with nothing but its conditions
    sum BLOB NOT NULL DEFAULT x'',            -- sum.h; empty: stored by a version without
    UNIQUE (agent, spool, sequence)
) STRICT;
CREATE INDEX result_of_trial ON result (campaign, trial, attempt);
-- The store itself holds that a trial has at most one accepted result.
CREATE UNIQUE INDEX result_accepted ON result (campaign, trial) WHERE accepted = 1;

CREATE TABLE sample (
    result INTEGER NOT NULL,
    position INTEGER NOT NULL,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    value REAL,                               -- NULL: not a number
    time_ns INTEGER NOT NULL,                 -- CLOCK_MONOTONIC of the agent's host
    clock_ns INTEGER NOT NULL,
    PRIMARY KEY (result, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE text (
    result INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (result, position)
) STRICT, WITHOUT ROWID;

-- How far each agent's spool has arrived, so that a gap is seen.
CREATE TABLE source (
    agent TEXT NOT NULL,
    spool TEXT NOT NULL,
    next_sequence INTEGER NOT NULL,
    PRIMARY KEY (agent, spool)
) STRICT, WITHOUT ROWID;
