"""What xtune uses of other libraries beyond their documented interfaces: one file a library, each function tested by
what it does. Nothing else of xtune touches a name of others that begins with an underscore.
"""
