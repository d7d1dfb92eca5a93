-- The same for all of the cache's arms: what differs is who is told.
\set id random(1, 100000)
UPDATE item SET changes = changes + 1 WHERE id = :id;
