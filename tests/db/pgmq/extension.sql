-- A stand-in for the real extension: a schema pgmq that is not ours, with functions that reach their queues as the extension's
-- do, through SQL made of the queue's name. (Written for these tests from what pgmq promises.)
create schema pgmq;
create table pgmq.meta (
  queue_name varchar unique not null, is_partitioned boolean not null, is_unlogged boolean not null,
  created_at timestamptz not null default now());
create type pgmq.message_record as (
  msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb);
create type pgmq.queue_record as (queue_name varchar, is_partitioned boolean, is_unlogged boolean, created_at timestamptz);

create function pgmq.format_table_name(queue_name text, prefix text) returns text language sql as $$
  select lower(prefix || '_' || queue_name) $$;

create function pgmq.list_queues() returns setof pgmq.queue_record language sql as $$ select * from pgmq.meta $$;

create function pgmq.create(queue_name text) returns void language plpgsql as $$
begin
  execute format('create table if not exists pgmq.%I (
    msg_id bigint primary key generated always as identity, read_ct int not null default 0,
    enqueued_at timestamptz not null default now(), vt timestamptz not null, message jsonb, headers jsonb)',
    pgmq.format_table_name(queue_name, 'q'));
  execute format('create table if not exists pgmq.%I (
    msg_id bigint primary key, read_ct int not null default 0, enqueued_at timestamptz not null default now(),
    archived_at timestamptz not null default now(), vt timestamptz not null, message jsonb, headers jsonb)',
    pgmq.format_table_name(queue_name, 'a'));
  insert into pgmq.meta values (queue_name, false, false) on conflict do nothing;
end $$;

create function pgmq.send_batch(queue_name text, msgs jsonb[], delay timestamptz) returns setof bigint language plpgsql as $$
begin
  return query execute format('insert into pgmq.%I (vt, message) select $1, unnest($2) returning msg_id',
    pgmq.format_table_name(queue_name, 'q')) using delay, msgs;
end $$;

create function pgmq.send(queue_name text, msg jsonb) returns setof bigint language sql as $$
  select * from pgmq.send_batch(queue_name, array[msg], clock_timestamp()) $$;

create function pgmq.read(queue_name text, vt int, qty int, conditional jsonb default '{}')
returns setof pgmq.message_record language plpgsql as $$
begin
  return query execute format('
    with seen as (
      select msg_id from pgmq.%1$I where vt <= clock_timestamp() and ($3 = ''{}'' or message @> $3)
      order by msg_id limit $2 for update skip locked)
    update pgmq.%1$I m set vt = clock_timestamp() + $1, read_ct = m.read_ct + 1 from seen where m.msg_id = seen.msg_id
    returning m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, m.headers', pgmq.format_table_name(queue_name, 'q'))
  using make_interval(secs => vt), qty, conditional;
end $$;

create function pgmq.read_with_poll(queue_name text, vt int, qty int, max_poll_seconds int default 5,
  poll_interval_ms int default 100, conditional jsonb default '{}')
returns setof pgmq.message_record language plpgsql as $$
declare
  until constant timestamptz := clock_timestamp() + make_interval(secs => max_poll_seconds);
begin
  while clock_timestamp() < until loop
    return query select * from pgmq.read(queue_name, vt, qty, conditional);
    exit when found;
    perform pg_sleep(poll_interval_ms / 1000.0);
  end loop;
end $$;

create function pgmq.set_vt(queue_name text, msg_id bigint, vt int) returns setof pgmq.message_record language plpgsql as $$
begin
  return query execute format('
    update pgmq.%I m set vt = clock_timestamp() + $2 where m.msg_id = $1
    returning m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, m.headers', pgmq.format_table_name(queue_name, 'q'))
  using msg_id, make_interval(secs => vt);
end $$;

create function pgmq.archive(queue_name text, msg_id bigint) returns boolean language plpgsql as $$
declare
  moved bigint;
begin
  execute format('
    with gone as (delete from pgmq.%I where msg_id = $1 returning msg_id, read_ct, enqueued_at, vt, message, headers)
    insert into pgmq.%I (msg_id, read_ct, enqueued_at, vt, message, headers)
    select msg_id, read_ct, enqueued_at, vt, message, headers from gone returning msg_id',
    pgmq.format_table_name(queue_name, 'q'), pgmq.format_table_name(queue_name, 'a')) into moved using msg_id;
  return moved is not null;
end $$;

create function pgmq.delete(queue_name text, msg_id bigint) returns boolean language plpgsql as $$
declare
  gone bigint;
begin
  execute format('delete from pgmq.%I where msg_id = $1 returning msg_id', pgmq.format_table_name(queue_name, 'q'))
  into gone using msg_id;
  return gone is not null;
end $$;

create function pgmq.metrics(queue_name text) returns table (queue_length bigint, visible bigint, total bigint) language plpgsql as $$
begin
  return query execute format('
    select q.length, q.visible, case when s.is_called then s.last_value else 0 end
    from (select count(*) as length, count(*) filter (where vt <= now()) as visible from pgmq.%I) q, pgmq.%I s',
    pgmq.format_table_name(queue_name, 'q'), pgmq.format_table_name(queue_name, 'q') || '_msg_id_seq');
end $$;
