Feature: One node is one node, whatever doors it is seen through

  A node is asked who it is. Two sightings of one identity are one handle that knows all its
  origins, and a node cannot be ours and somebody else's by accident.

  Rule: Sightings of one identity are merged

    Scenario: A node that is listed by two names
      Given 3 nodes that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Two doors
          Scenario: The same node by another name
            Given external nodes:
              | node  | url               |
              | ALPHA | env(THEIRS_1_URL) |
              | BETA  | env(THEIRS_2_URL) |
              | ALIAS | env(THEIRS_1_URL) |
            When the nodes are ready
            Then ALPHA and ALIAS are one node
        """
      Then the exit code is 0

    Scenario: Two nodes are not one
      Given 2 nodes that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Two nodes
          Scenario: Two names
            Given external nodes:
              | node  | url               |
              | ALPHA | env(THEIRS_1_URL) |
              | BETA  | env(THEIRS_2_URL) |
            When the nodes are ready
            Then ALPHA and BETA are one node
        """
      Then the exit code is 1
      And it prints "ALPHA and BETA are two nodes"

  Rule: A node that is ours and somebody else's is refused, unless it is adopted by name

    Background:
      Given the harness is given one port, whose URL is in the variable OUR_URL

    Scenario: A node of ours that is listed as one of others
      When I run the harness on this feature:
        """
        Feature: Clash
          Scenario: Whose is it
            Given external nodes:
              | node   | url          |
              | THEIRS | env(OUR_URL) |
            And a cluster of 1 node
        """
      Then the exit code is 1
      And it prints "managed (local)"
      And it prints "Whose is it, line 3"
      And nothing of that run is left

    Scenario: It is ours under both names when it is adopted
      When I run the harness on this feature:
        """
        Feature: Adopted
          Scenario: It is ours
            Given external nodes:
              | node  | url          |
              | ALIAS | env(OUR_URL) |
            And ALIAS is adopted
            And a cluster of 1 node
            Then NODE_1 and ALIAS are one node
            And ALIAS is owned
            When I restart ALIAS
        """
      Then the exit code is 0
      And nothing of that run is left

  Rule: Nodes of two networks are no cluster

    Scenario: Both values and both nodes are named
      Given 1 node that somebody else runs
      And 1 node that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Two networks
          Scenario: A node of each
            Given external nodes:
              | node  | url               |
              | ALPHA | env(THEIRS_1_URL) |
              | BETA  | env(THEIRS_2_URL) |
            When the nodes are ready
            Then the nodes agree on a leader within 15 seconds
        """
      Then the exit code is 1
      And it prints 'network is "theirs-'
      And it prints '" on ALPHA and "theirs-'
      And it prints '" on BETA'
      And it does not print "agree on a leader: "
