-- SCHEMA pgmq, of our own where the extension is not: its names, types and results over tables of ours. The comment on the
-- schema says that it is ours; without it nothing in this folder is applied (docs/decisions/0021-pgmq.md).
do $$
begin
  if to_regnamespace('pgmq') is null then    -- `if not exists` asks for the right to make one all the same
    create schema pgmq;
  end if;
  comment on schema pgmq is 'Stepwell: message queues with the functions of pgmq';
  if to_regtype('pgmq.message_record') is null then
    create type pgmq.message_record as (
      msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb);
  end if;
  if to_regtype('pgmq.queue_record') is null then
    create type pgmq.queue_record as (
      queue_name varchar, is_partitioned boolean, is_unlogged boolean, created_at timestamptz);
  end if;
  if to_regtype('pgmq.metrics_result') is null then
    create type pgmq.metrics_result as (
      queue_name text, queue_length bigint, newest_msg_age_sec int, oldest_msg_age_sec int, total_messages bigint,
      scrape_time timestamptz, queue_visible_length bigint);
  end if;
end
$$;

-- Every queue, and what its relations are called: q_<relation> and a_<relation>.
create table if not exists pgmq.meta (
  queue_name varchar not null,
  is_partitioned boolean not null default false,
  is_unlogged boolean not null default false,
  created_at timestamptz not null default now(),
  relation text not null,
  flow_slug text,                            -- the flow whose tasks are its messages; null: a plain queue
  constraint meta_queue_name_key unique (queue_name),
  constraint meta_relation_key unique (relation)
);

-- Queues whose inserts are announced: at most one notification per interval.
create table if not exists pgmq.notify_insert_throttle (
  queue_name varchar not null,
  throttle_interval_ms int not null default 250,
  last_notified_at timestamptz not null default '-infinity',
  callers int not null default 1,            -- who enabled it and did not disable it
  constraint notify_insert_throttle_pkey primary key (queue_name),
  constraint throttle_is_nonnegative check (throttle_interval_ms >= 0)
) with (fillfactor = 50);
