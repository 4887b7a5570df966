-- CLOCK: the only clock. Tests move it with `set pgflow.now = '2030-01-01'`; read it once per function.
create or replace function pgflow.now() returns timestamptz
language sql stable parallel safe
begin atomic
  select coalesce(nullif(current_setting('pgflow.now', true), '')::timestamptz, clock_timestamp());
end;

-- A run id that grows with time (uuid version 7), so that newer rows stay together in every index.
create or replace function pgflow.new_run_id() returns uuid
language sql volatile parallel safe
begin atomic
  select encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
        from 1 for 6),
      52, 1), 53, 1),
    'hex')::uuid;
end;
