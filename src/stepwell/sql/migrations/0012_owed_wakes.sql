-- Gates that were freed while those who wait for them were locked by somebody: a later turn wakes them. Without a key, so that
-- nobody who writes here waits for another.

create table pgflow.owed_wakes (
  gate text not null,
  since timestamptz not null
);
