-- SPDX-License-Identifier: GPL-3.0-or-later
-- A checksum of each result; what was stored before has none.
ALTER TABLE result ADD COLUMN sum BLOB NOT NULL DEFAULT x'';
