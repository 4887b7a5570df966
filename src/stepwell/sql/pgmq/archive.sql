-- ARCHIVE: messages that are done with, kept or forgotten. An id that is gone is nothing special. The message of a flow's task
-- ends with the task: as long as that is open nothing changes here, and then it is in the archive by itself.

create or replace function pgmq.archive(queue_name text, msg_id bigint) returns boolean
language sql set search_path = pg_catalog, pg_temp as $$
  select exists (select from pgmq.archive(queue_name, array[msg_id]));
$$;

create or replace function pgmq.archive(queue_name text, msg_ids bigint[]) returns setof bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if pgmq.belongs_to_a_flow(archive.queue_name, msg_ids, 'archive') then
    return;
  end if;
  return query execute format($sql$
    with done as (
      delete from pgmq.%I m where m.msg_id = any ($1)
      returning m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, m.headers
    )
    insert into pgmq.%I (msg_id, read_ct, enqueued_at, vt, message, headers, archived_at)
    select d.*, $2 from done d
    returning msg_id
  $sql$, pgmq.format_table_name(archive.queue_name, 'q'), pgmq.format_table_name(archive.queue_name, 'a'))
  using msg_ids, pgflow.now();
end
$$;

create or replace function pgmq.delete(queue_name text, msg_id bigint) returns boolean
language sql set search_path = pg_catalog, pg_temp as $$
  select exists (select from pgmq.delete(queue_name, array[msg_id]));
$$;

create or replace function pgmq.delete(queue_name text, msg_ids bigint[]) returns setof bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if pgmq.belongs_to_a_flow(delete.queue_name, msg_ids, 'delete') then
    return;
  end if;
  return query execute format(
    'delete from pgmq.%I m where m.msg_id = any ($1) returning m.msg_id', pgmq.format_table_name(delete.queue_name, 'q'))
  using msg_ids;
end
$$;

-- All messages of a plain queue, whoever has them in hand; the archive stays. Answers with their number.
create or replace function pgmq.purge_queue(queue_name text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  queue constant pgmq.meta := pgmq.plain_queue(purge_queue.queue_name, 'purge', 'Cancel its runs: pgflow.cancel_run().');
  relation constant text := pgmq.format_table_name(purge_queue.queue_name, 'q');
  purged bigint;
begin
  execute format('lock table pgmq.%I', relation);
  execute format('select count(*) from pgmq.%I', relation) into purged;
  execute format('truncate table pgmq.%I', relation);
  return purged;
end
$$;

create or replace function pgmq.belongs_to_a_flow(name text, msg_ids bigint[], wish text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  queue constant pgmq.meta := pgmq.queue_named(name);
begin
  if queue.flow_slug is null then
    return false;
  end if;
  perform pgflow.keep_messages(queue.flow_slug, msg_ids, wish);
  return true;
end
$$;
